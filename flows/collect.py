"""The collection as a Prefect flow: fetch DFT jobs from another machine, evaluate, update tables and page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import flow, get_run_logger

from flows import pipeline
from flows.parameters import settings_of_run
from flows.remote_jobs import waiting_jobs
from flows.serve import artifacts
from flows.serve.notifications import announce_picks
from flows.settings import ScreenSettings
from flows.settings_layers import validate
from screening.runs.folder import RunFolder
from screening.runs.record import RunError, RunLockedError
from screening.runs.releases import finished_runs

if TYPE_CHECKING:
    from pathlib import Path

COLLECT_FLOW_NAME = "collect-dft"


@flow(name=COLLECT_FLOW_NAME, description="Fetch the DFT jobs that another machine has finished; evaluate them.")
def collect_dft() -> str:
    """Collect for every finished run that waits for DFT jobs; return how many jobs are still waited for, in words.

    Raises
    ------
    screening.runs.record.RunError
        If the jobs of a run could not be collected; those of the others are.
    """
    sentences, problems = collect_all(settings_of_run())
    sentence = " ".join(sentences) or "No run waits for DFT jobs."
    get_run_logger().info(sentence)
    if problems:
        raise RunError(" ".join(problems))
    return sentence


def collect_all(served: ScreenSettings) -> tuple[list[str], list[str]]:
    """Collect for the waiting runs, oldest first; return a sentence for each, and one for each that is damaged."""
    sentences, problems = [], []
    for info in finished_runs(served.results_dir):
        path = served.results_dir / info["run_id"]
        try:
            if waiting_jobs(path):
                sentences.append(collect_run(path, served))
        except (OSError, RunError) as error:
            problems.append(f"The DFT jobs of the run {path.name} could not be collected: {error}")
    return sentences, problems


def collect_run(path: Path, served: ScreenSettings) -> str:
    """Fetch the finished DFT jobs of a run and repeat the stages that read them.

    Parameters
    ----------
    path
        Run folder.
    served
        Names the project of jobflow-remote and this machine's programs and folders; all else is as the run was made.
    """
    before = waiting_jobs(path)
    try:
        run = RunFolder.reopen(path)
    except RunLockedError:
        return f"The run {path.name} is being worked on; its jobs are collected the next time."
    settings = settings_to_collect(run, served)
    with run:
        todo = pipeline.stages_from("run_dft")
        run.redo(stage.name for stage in todo)
        pipeline.run_stages(run, settings, todo, lambda stage: pipeline.run_stage(stage, run, settings))
    waiting = waiting_jobs(path)
    if waiting < before:
        artifacts.publish(run)
    if not waiting:
        announce_picks(run)
    return f"Run {path.name}: {before - waiting} DFT jobs collected, {waiting} still waited for."


def settings_to_collect(run: RunFolder, served: ScreenSettings) -> ScreenSettings:
    """Settings of a run, with the place of its jobs and the programs and folders of this machine."""
    stored = run.info["settings"]
    of_here = {"elk_command": served.dft.elk_command, "cache_dir": served.dft.cache_dir, "workers": served.dft.workers}
    return validate(
        ScreenSettings,
        {
            **stored,
            "results_dir": run.path.parent,
            "dft": {**stored["dft"], **of_here},
            "remote": {**served.remote.model_dump(), "submit": True},
        },
    )
