"""Shards of a stage as Prefect tasks: one after another here, or on the workers of a Dask cluster.

A task takes a path and settings and writes one Parquet file into the run folder, atomically. A task that is lost with its
worker is run again by Dask on another one and repeats only its shard; idle workers take tasks from busy ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import Any

from httpx import TransportError
from prefect import State, Task, flow, task
from prefect.cache_policies import INPUTS, TASK_SOURCE
from prefect.client.schemas.objects import TaskRun
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import TaskRunner
from pydantic import BaseModel, ConfigDict

from flows import pipeline
from flows.pipeline import Shard
from flows.settings import ScreenSettings
from screening.runs.folder import RunFolder

# Called with the number of finished shards; not a parameter of the flow, as Prefect sends these to the workers.
_REPORT: ContextVar[Callable[[int], None]] = ContextVar("report")


class ClusterError(ValueError):
    """The cluster of the settings cannot be used; the message says why."""


class Run(BaseModel):
    """A run folder as tasks see it: where it is and what determines its content."""

    model_config = ConfigDict(frozen=True)

    path: str
    settings: ScreenSettings
    source_fingerprint: str
    db_version: str
    weights_hashes: dict[str, str]
    redone: int

    @classmethod
    def of(cls, folder: RunFolder, settings: ScreenSettings) -> Run:
        """What tasks need to know of a run."""
        info = folder.info
        return cls(
            path=str(folder.path.resolve()),
            settings=settings,
            source_fingerprint=info["source_fingerprint"],
            db_version=info["db_version"],
            weights_hashes=info["weights_hashes"],
            redone=info.get("redone", 0),
        )

    @property
    def folder(self) -> RunFolder:
        """The folder, without its lock, which the flow holds."""
        return RunFolder.attach(Path(self.path))


async def is_worth_a_retry(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Retry after disk and network failures; anything else would fail again in the same way."""
    return isinstance(await state.aresult(raise_on_failure=False), (OSError, TransportError))


pipeline_task = task(
    cache_policy=INPUTS + TASK_SOURCE,
    persist_result=True,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=is_worth_a_retry,
)


@pipeline_task
def run_shard(run: Run, stage: str, shard: Shard) -> int:
    """Run one shard of the candidates, with every model of the stage."""
    return pipeline.run_shard(pipeline.BY_NAME[stage], run.folder, run.settings, shard)


def run_shards(run: Run, stage: str, shards: Sequence[Shard], report: Callable[[int], None]) -> None:
    """Run shards, on the cluster of the settings if they name one.

    Parameters
    ----------
    run
        The run.
    stage
        Name of the stage.
    shards
        Those that are missing.
    report
        Called with how many are done.

    Raises
    ------
    ClusterError
        If the cluster cannot be used.
    """
    scheduler = run.settings.prediction.scheduler
    if scheduler is not None:
        token = _REPORT.set(report)
        try:
            on_cluster.with_options(task_runner=_dask_runner(scheduler))(run, stage, list(shards))
        finally:
            _REPORT.reset(token)
        return
    for number, shard in enumerate(shards, 1):
        _task_of(run, stage, shard)(run, stage, shard)
        report(number)


@flow(name="shards")
def on_cluster(run: Run, stage: str, shards: list[Shard]) -> None:
    """Run shards as tasks of the task runner of this flow; the first failure ends it."""
    _wait_for([_task_of(run, stage, shard).submit(run, stage, shard) for shard in shards])


def _task_of(run: Run, stage: str, shard: Shard) -> Task[[Run, str, Shard], int]:
    """The task of a shard; it is repeated if the shard is not on disk, whatever Prefect remembers of it."""
    table = pipeline.BY_NAME[stage].writes[0]
    is_gone = not run.folder.has_table(table) and not run.folder.has_shard(table, shard.index)
    return run_shard.with_options(task_run_name=f"{stage}-{shard.index}", refresh_cache=is_gone)


def _wait_for(futures: list[PrefectFuture[int]]) -> None:
    report = _REPORT.get()
    for number, future in enumerate(as_completed(futures), 1):
        future.result()
        report(number)


def _dask_runner(address: str) -> TaskRunner[Any]:
    try:
        runner = import_module("prefect_dask").DaskTaskRunner
    except ImportError as error:
        raise ClusterError(
            f"prediction.scheduler = {address} needs the package prefect-dask: pip install 'mat2spec-screening[distributed]'."
        ) from error
    made: TaskRunner[Any] = runner(address=address)
    return made
