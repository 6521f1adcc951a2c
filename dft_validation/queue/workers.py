"""Working through a queue: a few workers with one child process each; finished results survive any interruption.

Two things that a killed process cannot leave in a wrong state decide who computes what: a row of the queue, changed in
one transaction, and a system lock on the key of the result, which ends with its holder. No clock is involved, so it does
not matter if a machine sleeps or its time is changed.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import pandas as pd
from pymatgen.core import Structure

from dft_validation.engines import choose_engine
from dft_validation.engines.processes import ChildGroup, member_of
from dft_validation.jobs.calculation import failed_job
from dft_validation.queue.plan import queue_rows
from dft_validation.queue.store import JobQueue, QueuedJob
from dft_validation.queue.unwritten import Unwritten
from dft_validation.results.cache import DocumentCache, Outcome
from dft_validation.results.document import EdosDocument
from dft_validation.results.outcomes import OPEN_STATES, PASSING_STATES, FailedJob, JobStatus, fault_of_machine
from dft_validation.settings import DftSettings
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.cell import cell_of
from mat2spec.tables.columns import Column

logger = logging.getLogger(__name__)

Progress = Callable[[Outcome, int, int], Any]

# How often an idle worker checks whether another process has ended or abandoned a job.
_POLL_SECONDS = 0.2
ABANDONED = "The process that ran it died; it will be computed again."
RESULT_GONE = "Its result is no longer in the cache; it will be computed again."


def run_jobs(
    jobs: pd.DataFrame,
    crystals: Crystals,
    settings: DftSettings,
    on_progress: Progress | None = None,
    queue: JobQueue | None = None,
) -> list[Outcome]:
    """Run the queued jobs, `settings.workers` at a time, and return the outcome of each.

    Cached outcomes are read, not computed. However the run is stopped (Ctrl-C, `kill -9`, an exception in `on_progress`),
    its children end and finished results are kept; the next run resumes from there. Several processes may work on one
    queue.

    Parameters
    ----------
    jobs
        From `plan_jobs`; rows whose status is not "queued" are not run.
    crystals
        Crystals of the queued jobs at least.
    settings
        As given to `plan_jobs`.
    on_progress
        Called in this thread after each job with its outcome, the number done and the total.
    queue
        A queue on disk, to which the jobs are added; one in memory if None.

    Returns
    -------
    list
        `EdosDocument` or `FailedJob` per job that was run, now or earlier from this queue, in the order of `jobs`.

    Raises
    ------
    OSError
        If the queue or the cache cannot be written for longer than a moment, e.g. on a full disk.
    """
    _silence_jobflow()
    queue = queue or JobQueue()
    queue.add(queue_rows(jobs))
    outcomes = _Session(queue, crystals, settings).work_off(on_progress or (lambda *_: None))
    return [outcomes[material_id] for material_id in jobs[Column.MATERIAL_ID] if material_id in outcomes]


def _silence_jobflow() -> None:
    """Hide a deprecation warning inside jobflow that users can do nothing about."""
    warnings.filterwarnings("ignore", message="cd is deprecated", category=FutureWarning)


def free_abandoned(queue: JobQueue, cache: DocumentCache) -> int:
    """Requeue the jobs whose process is gone: marked as running but with a free lock. Return how many."""
    freed = 0
    for job in queue.jobs(JobStatus.RUNNING):
        with cache.try_lock(job.cache_key) as nobody_has_it:
            # While the lock is held here no other process can end the job; if it still counts as running, its process died.
            if nobody_has_it and queue.put_back(job.material_id, JobStatus.RUNNING, ABANDONED):
                cache.remove_unfinished(job.cache_key)
                freed += 1
    return freed


def ended_outcome(job: QueuedJob, structure: Structure, cache: DocumentCache, settings: DftSettings) -> Outcome | None:
    """Outcome of a job that has ended, from the cache or, for a failure, from its row; None if lost."""
    known = cache.load(job.cache_key) if job.cache_key else None
    if known is not None and getattr(known, "status", JobStatus.OK) == job.state:
        return renamed(known, job.material_id)
    if job.state is JobStatus.OK:
        return None
    settings = settings_of(job, settings)
    return failed_job(structure, job.material_id, settings, job.state, job.reason, job.cpu_seconds)


def ended_outcomes(queue: JobQueue, crystals: Crystals, settings: DftSettings) -> list[Outcome]:
    """Outcomes of the jobs that have ended so far; nothing is run or changed."""
    cache = DocumentCache(settings.cache_dir)
    row_of = {material_id: row for row, material_id in enumerate(crystals.material_ids)}
    outcomes = [
        ended_outcome(job, crystals.structure(row_of[job.material_id]), cache, settings)
        for job in queue.jobs()
        if job.attempts and job.state not in OPEN_STATES and job.material_id in row_of
    ]
    return [outcome for outcome in outcomes if outcome is not None]


def settings_of(job: QueuedJob, settings: DftSettings) -> DftSettings:
    """Settings of one job: those of the run with the changes of a retry."""
    if not job.overrides and not job.again:
        return settings
    retry = {"retry_failed": True} if job.again else {}
    return DftSettings.model_validate({**settings.model_dump(), **job.overrides, **retry})


class _Session:
    """One process's work on a queue."""

    def __init__(self, queue: JobQueue, crystals: Crystals, settings: DftSettings) -> None:
        self.queue = queue
        self.crystals = crystals
        self.settings = settings
        self.cache = DocumentCache(settings.cache_dir)
        self.group = ChildGroup()
        self.unwritten = Unwritten(queue, self.cache)
        self.outcomes: dict[str, Outcome] = {}
        # Materials that this process has handled, even if that could not be recorded on disk.
        self._done: set[str] = set()
        self._row_of = {material_id: row for row, material_id in enumerate(crystals.material_ids)}
        # Outcomes passed from the workers to the caller's thread; None for a worker that has ended.
        self._events: SimpleQueue[tuple[str, Outcome] | BaseException | None] = SimpleQueue()

    def work_off(self, on_progress: Progress) -> dict[str, Outcome]:
        """Run the queued jobs; return the outcomes of all jobs run, now or before, by material."""
        free_abandoned(self.queue, self.cache)
        self._take_stock()
        n_open = len(self._to_do(JobStatus.QUEUED, JobStatus.RUNNING))
        total = n_open + len(self.outcomes)
        for done, outcome in enumerate(list(self.outcomes.values()), 1):
            on_progress(outcome, done, total)
        n_workers = max(1, min(self.settings.workers, n_open))
        with ThreadPoolExecutor(max_workers=n_workers, thread_name_prefix="dft") as pool:
            try:
                for _ in range(n_workers):
                    pool.submit(self._work)
                self._listen(n_workers, on_progress, total)
            except BaseException:
                self.group.stop()
                raise
            finally:
                pool.shutdown(wait=True)
                self.group.close()
                self.unwritten.write_at_last()
        self._take_stock()
        return self.outcomes

    def _listen(self, n_workers: int, on_progress: Progress, total: int) -> None:
        """Pass outcomes to the caller until all workers have ended."""
        while n_workers:
            event = self._events.get()
            if event is None:
                n_workers -= 1
            elif isinstance(event, BaseException):
                raise event
            else:
                material_id, outcome = event
                self.outcomes[material_id] = outcome
                on_progress(outcome, len(self.outcomes), total)

    def _take_stock(self) -> None:
        """Read the outcomes of jobs that ended before or elsewhere; requeue those without one."""
        for job in self.queue.jobs():
            if not job.attempts or job.material_id in self.outcomes or job.material_id not in self._row_of:
                continue
            if job.state in PASSING_STATES:
                self.queue.put_back(job.material_id, job.state)
            elif job.state not in OPEN_STATES:
                outcome = ended_outcome(job, self._structure(job), self.cache, self.settings)
                if outcome is None:
                    self.queue.put_back(job.material_id, job.state, RESULT_GONE)
                else:
                    self.outcomes[job.material_id] = outcome

    def _structure(self, job: QueuedJob) -> Structure:
        return self.crystals.structure(self._row_of[job.material_id])

    def _work(self) -> None:
        """One worker: runs jobs until none is left, here or in other processes."""
        try:
            while not self.group.is_stopping and (self._do_one() or self._others_are_at_it()):
                pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._events.put(error)
        self._events.put(None)

    def _do_one(self) -> bool:
        """Take a job and run it; False if there is none to take."""
        with self._taken_job() as (job, key):
            if job is None:
                return False
            outcome = self._run_or_recall(job, key)
            if isinstance(outcome, FailedJob) and outcome.status is JobStatus.INTERRUPTED:
                self.queue.put_back(job.material_id, JobStatus.RUNNING, outcome.reason)
            else:
                # Still under the lock: no other process may take the job before its row says that it has ended.
                self._done.add(job.material_id)
                self.unwritten.write(job, key, outcome)
                self._events.put((job.material_id, outcome))
        return True

    @contextmanager
    def _taken_job(self) -> Iterator[tuple[QueuedJob | None, str]]:
        """The first job not being computed, marked as running, with the lock of its key held."""
        for job in self._to_do(JobStatus.QUEUED):
            if self.group.is_stopping:
                break
            key = self._key(job)
            with self.cache.try_lock(key) as locked:
                if locked and self.queue.take(job.material_id, key):
                    yield job, key
                    return
        yield None, ""

    def _key(self, job: QueuedJob) -> str:
        settings = settings_of(job, self.settings)
        cell = cell_of(self._structure(job))
        engine = choose_engine(settings, cell.atomic_numbers.tolist())
        return self.cache.key(cell, settings, engine.version())

    def _run_or_recall(self, job: QueuedJob, key: str) -> Outcome:
        settings = settings_of(job, self.settings)
        known = self.cache.load_valid(key, settings)
        if known is not None:
            # The same crystal may have been computed under another id.
            return renamed(known, job.material_id)
        with member_of(self.group):
            return run_as_job(self._structure(job), job.material_id, settings)

    def _others_are_at_it(self) -> bool:
        """Wait briefly if other processes are computing jobs; False if none is open."""
        free_abandoned(self.queue, self.cache)
        if not self._to_do(JobStatus.QUEUED, JobStatus.RUNNING):
            return False
        time.sleep(_POLL_SECONDS)
        return True

    def _to_do(self, *states: JobStatus) -> list[QueuedJob]:
        return [
            job
            for job in self.queue.jobs(*states)
            if job.material_id in self._row_of and job.material_id not in self._done
        ]


def renamed(outcome: Outcome, material_id: str) -> Outcome:
    """The same outcome under the id of another material with the same crystal."""
    values = {**outcome.as_dict(), "material_id": material_id}
    return EdosDocument.from_dict(values) if isinstance(outcome, EdosDocument) else FailedJob.from_dict(values)


def run_as_job(structure: Structure, material_id: str, settings: DftSettings) -> Outcome:
    """Compute one crystal as a jobflow flow with its own store; an engine that cannot run here is not started."""
    from jobflow import JobStore, run_locally
    from maggma.stores import MemoryStore

    from dft_validation.jobs.maker import EdosMaker

    unavailable = choose_engine(settings, list(structure.atomic_numbers)).unavailable_reason()
    if unavailable:
        return failed_job(structure, material_id, settings, JobStatus.ENGINE_UNAVAILABLE, unavailable)
    if settings.runs_as_flow:
        # Imports atomate2, which other engines do without.
        from dft_validation.jobs.local_flow import run_flow

        return run_flow(structure, material_id, settings)
    job = EdosMaker.from_settings(settings).make(structure, material_id)
    try:
        # run_locally changes the working folder of the whole process while it runs.
        responses = run_locally(job, log=False, store=JobStore(MemoryStore()), raise_immediately=True)
    except Exception as error:
        # A crystal that makes any library fail must not end the run; the traceback is in the log.
        logger.exception("The job of %s failed.", material_id)
        crashed = JobStatus.CRASHED, f"{type(error).__name__}: {error}"
        return failed_job(structure, material_id, settings, *(fault_of_machine(error) or crashed))
    return responses[job.output.uuid][1].output
