"""What a queue looks like: how many jobs in which state, what failed and why, and when it will be done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dft_validation.queue.cost import time_to_finish_s
from dft_validation.queue.store import JobQueue, QueuedJob
from dft_validation.results.outcomes import OPEN_STATES, JobStatus

# Finished jobs of a queue from which on they correct the estimates of those that are left.
_JOBS_FOR_CORRECTION = 3


@dataclass(frozen=True)
class QueueStatus:
    """A queue at one moment.

    Parameters
    ----------
    counts
        Jobs in each state that occurs.
    reasons
        Of each state that comes with reasons, the one of its first job.
    spent_cpu_seconds
        CPU time of all ended jobs.
    remaining_cpu_seconds
        Expected CPU time of the queued and running jobs.
    eta_s
        Expected wall time until the last of them ends, None if nothing is known of their cost.
    correction
        Factor by which finished jobs of this queue took longer than estimated; it is in the two above.
    """

    counts: dict[JobStatus, int]
    reasons: dict[JobStatus, str]
    spent_cpu_seconds: float
    remaining_cpu_seconds: float
    eta_s: float | None
    correction: float

    @property
    def n_open(self) -> int:
        """Jobs of which something is still to come."""
        return sum(number for state, number in self.counts.items() if state in OPEN_STATES)


def queue_status(queue: JobQueue, workers: int) -> QueueStatus:
    """Look at a queue.

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
    # A job without an estimate counts as one like the others.
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
