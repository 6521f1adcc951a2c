"""Status of a queue: jobs in each state, reasons of failures, and time left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dft_validation.queue.cost import time_to_finish_s
from dft_validation.queue.store import JobQueue, QueuedJob
from dft_validation.results.outcomes import OPEN_STATES, JobStatus

# Minimum number of finished jobs that correct the estimates of the remaining ones.
_JOBS_FOR_CORRECTION = 3


@dataclass(frozen=True)
class QueueStatus:
    """Snapshot of a queue.

    Parameters
    ----------
    counts
        Jobs in each state that occurs.
    reasons
        For each state with reasons, that of its first job.
    spent_cpu_seconds
        CPU time of all ended jobs.
    remaining_cpu_seconds
        Expected CPU time of the queued and running jobs.
    eta_s
        Expected wall time until the last of them ends, None if their cost is unknown.
    correction
        Factor by which finished jobs of this queue took longer than estimated, included in the two above.
    """

    counts: dict[JobStatus, int]
    reasons: dict[JobStatus, str]
    spent_cpu_seconds: float
    remaining_cpu_seconds: float
    eta_s: float | None
    correction: float

    @property
    def n_open(self) -> int:
        """Jobs that have not ended."""
        return sum(number for state, number in self.counts.items() if state in OPEN_STATES)


def queue_status(queue: JobQueue, workers: int) -> QueueStatus:
    """Determine the status of a queue.

    Parameters
    ----------
    queue
        The queue.
    workers
        Jobs at the same time.
    """
    jobs = queue.jobs()
    correction = _correction(jobs)
    local = [job for job in jobs if job.state in {JobStatus.QUEUED, JobStatus.RUNNING}]
    known = [job.estimated_cpu_seconds * correction for job in local if job.estimated_cpu_seconds is not None]
    # A job without an estimate counts as an average one.
    missing = [float(np.mean(known))] * (len(local) - len(known)) if known else []
    eta = time_to_finish_s([*known, *missing], workers) if known or not local else None
    return QueueStatus(
        counts=queue.counts(),
        reasons={job.state: job.reason for job in reversed(jobs) if job.reason and job.state not in OPEN_STATES},
        spent_cpu_seconds=sum(job.cpu_seconds for job in jobs),
        remaining_cpu_seconds=sum(known) + sum(missing),
        eta_s=eta,
        correction=correction,
    )


def _correction(jobs: list[QueuedJob]) -> float:
    ratios = [
        job.cpu_seconds / job.estimated_cpu_seconds
        for job in jobs
        if job.state is JobStatus.OK and job.estimated_cpu_seconds and job.cpu_seconds > 0
    ]
    return float(np.median(ratios)) if len(ratios) >= _JOBS_FOR_CORRECTION else 1.0
