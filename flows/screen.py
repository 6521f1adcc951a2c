"""The screen as a Prefect flow: what is wired, retried, cached and reported; the work is in `flows.stages`.

A task gets paths, hashes and settings, never a table or a model, and does a shard of materials or a
whole stage. Its cache key is made of these inputs and of its source, so a run that is started again
skips what it finished.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import State, Task, flow, get_run_logger, task
from prefect.cache_policies import INPUTS, TASK_SOURCE
from prefect.client.schemas.objects import TaskRun
from pydantic import BaseModel, ConfigDict

from flows import stages
from flows.serve import artifacts
from flows.settings import ScreenSettings
from flows.settings_layers import load_settings
from flows.stages import Shard
from screening.runs.folder import RunFolder

FLOW_NAME = "screen-gapped-metals"


class Run(BaseModel):
    """A run folder as tasks know it: where it is and what decides its content."""

    model_config = ConfigDict(frozen=True)

    path: str
    settings: ScreenSettings
    source_fingerprint: str
    db_version: str
    weights_hashes: dict[str, str]

    @property
    def folder(self) -> RunFolder:
        """The folder, without its lock, which the flow holds."""
        return RunFolder.attach(Path(self.path))


async def is_worth_a_retry(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Try again after a failure of a disk or a network; anything else fails again in the same way."""
    return isinstance(await state.aresult(raise_on_failure=False), OSError)


stage_task = task(
    cache_policy=INPUTS + TASK_SOURCE,
    persist_result=True,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=is_worth_a_retry,
)


@flow(
    name=FLOW_NAME,
    description="From crystals to a ranked list of gapped metals, DFT of the best, precision and recall.",
)
def screen_gapped_metals(settings: ScreenSettings | None = None, release: str | None = None) -> str:
    """Screen a source of crystals for gapped metals; return the folder of the result tables, or that nothing is new.

    With a release, which the watcher names, only what is new or changed since former runs is screened.
    """
    settings = settings or load_settings()
    if release is not None:
        settings = settings.model_copy(update={"only_new": True})
    with stages.open_run(settings) as folder:
        run = describe(folder, settings)
        find_candidates(run)
        nothing = stages.nothing_new(folder, settings)
        if nothing is not None:
            get_run_logger().info(nothing)
            folder.discard()
            return nothing
        screen_candidates(run)
        evaluate(run)
        artifacts.publish(folder)
        folder.finish()
    return run.path


def screen_candidates(run: Run) -> None:
    """Predict, classify, compute, where there are candidates."""
    if not stages.is_needed("predict_spectra", run.folder):
        return
    predict_spectra(run)
    classify_predictions(run)
    queue_dft(run)
    if run.settings.run_dft:
        run_dft(run)


def describe(folder: RunFolder, settings: ScreenSettings) -> Run:
    """What tasks need to know of a run."""
    get_run_logger().info("The tables of this run are in %s", folder.path)
    info = folder.info
    return Run(
        path=str(folder.path.resolve()),
        settings=settings,
        source_fingerprint=info["source_fingerprint"],
        db_version=info["db_version"],
        weights_hashes=info["weights_hashes"],
    )


def predict_spectra(run: Run) -> None:
    """Predict all candidates, one task for every shard of them."""
    with run.folder.stage("predict_spectra") as counts:
        shards = stages.plan_shards(run.folder, run.settings)
        with artifacts.progress("Prediction of spectra") as report:
            for shard in shards:
                predict_shard(run, shard)
                report(shard.index + 1, len(shards))
        counts.update(merge_predictions(run, len(shards)))


@stage_task
def find_candidates(run: Run) -> dict[str, int]:
    """Filter the materials of the source."""
    return stages.run_stage("find_candidates", run.folder, run.settings)


@stage_task
def predict_shard(run: Run, shard: Shard) -> int:
    """Predict the spectra of one shard of candidates by every model."""
    return stages.predict_shard(run.folder, run.settings, shard)


@stage_task
def merge_predictions(run: Run, n_shards: int) -> dict[str, int]:
    """Join the shards to one table."""
    return stages.merge_predictions(run.folder, n_shards)


@stage_task
def classify_predictions(run: Run) -> dict[str, int]:
    """Find the gapped metals among the predicted spectra."""
    return stages.run_stage("classify_predictions", run.folder, run.settings)


@stage_task
def queue_dft(run: Run) -> dict[str, int]:
    """Choose candidates for DFT and plan their jobs."""
    return stages.run_stage("queue_dft", run.folder, run.settings)


@stage_task
def run_dft(run: Run) -> dict[str, int]:
    """Run the DFT jobs and classify their spectra."""
    with artifacts.progress("DFT jobs") as report:
        return stages.run_stage("run_dft", run.folder, run.settings, report)


@stage_task
def evaluate(run: Run) -> dict[str, int]:
    """Compare prediction and DFT."""
    return stages.run_stage("evaluate", run.folder, run.settings)


if __name__ == "__main__":
    screen_gapped_metals()
