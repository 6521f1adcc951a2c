"""The local queue: a few workers, one child process each; what is finished stays, whatever happens."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from dft_validation.cache import DocumentCache, Outcome
from dft_validation.calculation import cell_of, failed_job
from dft_validation.document import EdosDocument
from dft_validation.engines import get_engine
from dft_validation.outcomes import FailedJob, JobStatus
from dft_validation.processes import ChildGroup, member_of
from dft_validation.settings import DftSettings
from mat2spec.crystals import Crystals
from screening.columns import Column

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

logger = logging.getLogger(__name__)

Progress = Callable[[Outcome, int, int], Any]


def run_jobs(
    jobs: pd.DataFrame, crystals: Crystals, settings: DftSettings, on_progress: Progress | None = None
) -> list[Outcome]:
    """Run the queued jobs, `settings.workers` at a time, and return what became of each.

    Outcomes that are in the cache are read, not computed. Whatever stops the run - Ctrl-C, an exception in
    `on_progress` - ends the children and keeps what is finished; the next run goes on from there.

    Parameters
    ----------
    jobs
        From `plan_jobs`; rows whose status is not "queued" are passed over.
    crystals
        At least those of the queued jobs.
    settings
        As given to `plan_jobs`.
    on_progress
        Called in this thread after each job with its outcome, the number done and the number of all.

    Returns
    -------
    list
        `EdosDocument` or `FailedJob` per queued job, in the order of `jobs`.
    """
    _silence_jobflow()
    queued = jobs.loc[jobs[Column.STATUS] == str(JobStatus.QUEUED), Column.MATERIAL_ID].tolist()
    row_of = {material_id: row for row, material_id in enumerate(crystals.material_ids)}
    group = ChildGroup()
    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor(max_workers=settings.workers, thread_name_prefix="dft") as pool:
        futures = {
            pool.submit(
                _run_in_group, group, crystals.structure(row_of[material_id]), material_id, settings
            ): material_id
            for material_id in queued
        }
        try:
            for material_id, outcome in _finished(futures):
                outcomes[material_id] = outcome
                if on_progress is not None:
                    on_progress(outcome, len(outcomes), len(queued))
        except BaseException:
            group.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [outcomes[material_id] for material_id in queued]


def _silence_jobflow() -> None:
    """Hide a deprecation inside jobflow that a user can do nothing about."""
    warnings.filterwarnings("ignore", message="cd is deprecated", category=FutureWarning)


def _finished(futures: dict[Future[Outcome], str]) -> Iterator[tuple[str, Outcome]]:
    for future in as_completed(futures):
        yield futures[future], future.result()


def _run_in_group(group: ChildGroup, structure: Structure, material_id: str, settings: DftSettings) -> Outcome:
    with member_of(group):
        try:
            return _run_or_recall(structure, material_id, settings, group)
        except OSError as error:
            reason = f"The result could not be kept: {error}"
            return failed_job(structure, material_id, settings, JobStatus.DISK_FULL, reason)


def _run_or_recall(structure: Structure, material_id: str, settings: DftSettings, group: ChildGroup) -> Outcome:
    """Read the outcome, or compute and store it under the lock of its key."""
    cache = DocumentCache(settings.cache_dir)
    key = cache.key(cell_of(structure), settings, get_engine(settings.engine).version())
    known = cache.load_valid(key, settings)
    if known is None:
        with cache.lock(key, give_up=lambda: group.is_stopping) as may_compute:
            if not may_compute or group.is_stopping:
                return failed_job(structure, material_id, settings, JobStatus.INTERRUPTED, "The run was stopped.")
            # Another run may have finished it while this one waited.
            known = cache.load_valid(key, settings)
            if known is None:
                known = run_as_job(structure, material_id, settings)
                cache.store(key, known)
    # The same crystal may have been computed under another name.
    return _renamed(known, material_id)


def _renamed(outcome: Outcome, material_id: str) -> Outcome:
    values = {**outcome.as_dict(), "material_id": material_id}
    return EdosDocument.from_dict(values) if isinstance(outcome, EdosDocument) else FailedJob.from_dict(values)


def run_as_job(structure: Structure, material_id: str, settings: DftSettings) -> Outcome:
    """Compute one crystal as a jobflow job with a store of its own."""
    from jobflow import JobStore, run_locally
    from maggma.stores import MemoryStore

    from dft_validation.maker import EdosMaker

    job = EdosMaker.from_settings(settings).make(structure, material_id)
    try:
        # run_locally changes the working folder of the process while it runs; every thread keeps the same one.
        responses = run_locally(job, log=False, store=JobStore(MemoryStore()), raise_immediately=True)
    except Exception as error:
        # One crystal that trips any library must not end the run; the traceback is in the log.
        logger.exception("The job of %s failed.", material_id)
        reason = f"{type(error).__name__}: {error}"
        return failed_job(structure, material_id, settings, JobStatus.CRASHED, reason)
    return responses[job.uuid][job.index].output
