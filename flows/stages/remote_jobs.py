"""DFT jobs of a run that another machine computes: handed over, fetched and counted."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from dft_validation.queue.plan import queue_rows
from dft_validation.queue.remote import collect, submit
from dft_validation.queue.store import QUEUE_FILE, JobQueue, QueuedJob
from dft_validation.queue.workers import ended_outcomes
from dft_validation.results.outcomes import JobStatus
from mat2spec.tables.columns import Column
from screening.runs.record import RunStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from dft_validation.results.cache import Outcome
    from flows.settings import ScreenSettings
    from mat2spec.crystals.arrays import Crystals

# Name of the stage, and its counts where another machine computes the jobs.
RUN_DFT = "run_dft"
COLLECTED, SUBMITTED, WAITING = "collected", "submitted", "waiting"


def exchange_jobs(
    folder: Path, jobs: pd.DataFrame, crystals: Crystals, settings: ScreenSettings
) -> tuple[list[Outcome], pd.DataFrame, dict[str, int]]:
    """Collect what another machine has finished and submit what it does not have.

    Parameters
    ----------
    folder
        Run folder, which holds the queue.
    jobs, crystals
        The table `dft_jobs` and its crystals.
    settings
        Of the run; `remote` names the project and the worker.

    Returns
    -------
    outcomes, jobs, counts
        What is known of the jobs that have ended, the table with the states of those that have not, and how many jobs were
        collected, submitted, and are waited for.

    Raises
    ------
    dft_validation.queue.remote.RemoteError
        If jobflow-remote is missing or refuses.
    """
    with closing(JobQueue(folder / QUEUE_FILE)) as queue:
        queue.add(queue_rows(jobs))
        collected = collect(queue, settings.dft, settings.remote)
        submitted = submit(queue, crystals, settings.dft, settings.remote)
        there = queue.jobs(JobStatus.SUBMITTED)
        counts = {COLLECTED: collected.ended, SUBMITTED: len(submitted), WAITING: len(there)}
        return ended_outcomes(queue, crystals, settings.dft), with_submitted(jobs, there), counts


def with_submitted(jobs: pd.DataFrame, there: Sequence[QueuedJob]) -> pd.DataFrame:
    """The table of jobs with the state of those that another machine has."""
    reasons = {job.material_id: job.reason for job in there}
    is_there = jobs[Column.MATERIAL_ID].isin(list(reasons))
    jobs.loc[is_there, Column.STATUS] = str(JobStatus.SUBMITTED)
    jobs.loc[is_there, Column.REASON] = jobs.loc[is_there, Column.MATERIAL_ID].map(reasons)
    return jobs


def waiting_jobs(folder: Path) -> int:
    """How many DFT jobs of a run another machine has not finished."""
    with closing(JobQueue.copy_of(folder / QUEUE_FILE)) as queue:
        return queue.counts().get(JobStatus.SUBMITTED, 0)


def is_to_be_collected(folder: Path, info: Mapping[str, Any]) -> bool:
    """Whether another machine has jobs of a run, or had some and the run is not complete.

    The latter is so if jobs were queued again by `mat2spec dft retry`, or if a collection was killed.

    Parameters
    ----------
    folder, info
        Run folder and its record.
    """
    with closing(JobQueue.copy_of(folder / QUEUE_FILE)) as queue:
        jobs = queue.jobs()
    states = {job.state for job in jobs}
    if JobStatus.SUBMITTED in states:
        return True
    counts = info["stages"].get(RUN_DFT, {}).get("counts", {})
    was_submitted = WAITING in counts or any(job.remote_id for job in jobs)
    return was_submitted and (JobStatus.QUEUED in states or info["status"] != RunStatus.FINISHED)
