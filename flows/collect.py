"""The collection as a Prefect flow: fetch DFT jobs from another machine, evaluate, update tables and page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import flow, get_run_logger

from flows import pipeline
from flows.parameters import settings_of_run
from flows.prefect_runs import artifacts
from flows.prefect_runs.announcements import announce_picks
from flows.prefect_runs.flow_runs import show_waiting
from flows.settings import ScreenSettings
from flows.settings_layers import validate
from flows.stages.remote_jobs import COLLECTED, RUN_DFT, SUBMITTED, WAITING, is_to_be_collected
from screening.runs.folder import RunFolder
from screening.runs.record import RunError, RunLockedError, list_runs

if TYPE_CHECKING:
    from pathlib import Path

COLLECT_FLOW_NAME = "collect-dft"


@flow(name=COLLECT_FLOW_NAME, description="Fetch the DFT jobs that another machine has finished; evaluate them.")
def collect_dft() -> str:
    """Collect for every run that waits for DFT jobs; return how many jobs are still waited for, in words.

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
    for info in list_runs(served.results_dir):
        path = served.results_dir / info["run_id"]
        try:
            if is_to_be_collected(path, info):
                sentences.append(collect_run(path, served))
        except (OSError, RunError) as error:
            problems.append(f"The DFT jobs of the run {path.name} could not be collected: {error}")
    return sentences, problems


def collect_run(path: Path, served: ScreenSettings) -> str:
    """Fetch the finished DFT jobs of a run, submit what was requeued, and repeat the stages that read them.

    Parameters
    ----------
    path
        Run folder.
    served
        Names the project of jobflow-remote and this machine's programs and folders; all else is as the run was made.
    """
    try:
        run = RunFolder.reopen(path)
    except RunLockedError:
        return f"The run {path.name} is being worked on; its jobs are collected the next time."
    settings = settings_to_collect(run, served)
    with run:
        todo = pipeline.stages_from(RUN_DFT)
        run.redo(stage.name for stage in todo)
        pipeline.run_stages(run, settings, todo, lambda stage: pipeline.run_stage(stage, run, settings))
    counts = run.info["stages"][RUN_DFT]["counts"]
    show_waiting(run, counts[WAITING])
    if counts[COLLECTED]:
        artifacts.publish(run)
    if not counts[WAITING]:
        announce_picks(run)
    return (
        f"Run {path.name}: {counts[COLLECTED]} DFT jobs collected, {counts[SUBMITTED]} submitted, "
        f"{counts[WAITING]} still waited for."
    )


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
