"""The screen as a Prefect flow: the stages of `flows.pipeline` as tasks, with retries, caching and artifacts.

A task takes paths, hashes and settings, never a table or a model, and runs a shard of the candidates or a whole stage.
Its cache key consists of these inputs and its source code, so a restarted flow run skips what it has finished.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import State, Task, flow, get_run_logger, task
from prefect.cache_policies import INPUTS, TASK_SOURCE
from prefect.client.schemas.objects import TaskRun
from pydantic import BaseModel, ConfigDict

from flows import pipeline
from flows.pipeline import Done, Shard, Stage
from flows.serve import artifacts
from flows.settings import ScreenSettings
from flows.settings_layers import load_settings
from screening.runs.folder import RunFolder

FLOW_NAME = "screen-gapped-metals"


class Run(BaseModel):
    """A run folder as tasks see it: where it is and what determines its content."""

    model_config = ConfigDict(frozen=True)

    path: str
    settings: ScreenSettings
    source_fingerprint: str
    db_version: str
    weights_hashes: dict[str, str]
    redone: int

    @property
    def folder(self) -> RunFolder:
        """The folder, without its lock, which the flow holds."""
        return RunFolder.attach(Path(self.path))


async def is_worth_a_retry(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Retry after disk and network failures; anything else would fail again in the same way."""
    return isinstance(await state.aresult(raise_on_failure=False), OSError)


@flow(
    name=FLOW_NAME,
    description="From crystals to a ranked list of gapped metals, DFT of the best, precision and recall.",
)
def screen_gapped_metals(settings: ScreenSettings | None = None, release: str | None = None) -> str:
    """Screen a source of crystals for gapped metals; return the folder of the result tables, or why nothing was kept.

    Given a release, as by the watcher, only what is new or changed since previous runs is screened.
    """
    settings = settings or load_settings()
    if release is not None:
        settings = settings.model_copy(update={"only_new": True})
    with pipeline.open_run(settings) as folder:
        run = describe(folder, settings)
        nothing = pipeline.run_stages(folder, pipeline.stages_of(settings), lambda stage: do_stage(run, stage))
    if nothing:
        get_run_logger().info(nothing)
        return nothing
    artifacts.publish(folder)
    return run.path


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
        redone=info.get("redone", 0),
    )


def do_stage(run: Run, stage: Stage) -> Done:
    """Run a stage: a task for each of its shards, and one for the rest."""
    shards = pipeline.shards_to_do(stage, run.folder, run.settings)
    if shards:
        with artifacts.progress(stage.title) as report:
            for shard in shards:
                run_shard.with_options(task_run_name=f"{stage.name}-{shard.index}")(run, stage.name, shard)
                report(shard.index + 1, len(shards))
    return run_stage.with_options(task_run_name=stage.name)(run, stage.name)


pipeline_task = task(
    cache_policy=INPUTS + TASK_SOURCE,
    persist_result=True,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=is_worth_a_retry,
)


@pipeline_task
def run_shard(run: Run, stage: str, shard: Shard) -> int:
    """Run one shard of the candidates, with every model."""
    return pipeline.run_shard(pipeline.BY_NAME[stage], run.folder, run.settings, shard)


@pipeline_task
def run_stage(run: Run, stage: str) -> Done:
    """Run a stage, or what remains of it after its shards."""
    chosen = pipeline.BY_NAME[stage]
    with artifacts.progress(chosen.title) as report:
        return pipeline.run_stage(chosen, run.folder, run.settings, report)


if __name__ == "__main__":
    screen_gapped_metals()
