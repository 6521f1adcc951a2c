"""Outcomes of a DFT job: a document, or a failure, which is data too."""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class JobStatus(StrEnum):
    """States of a DFT job; everything but `QUEUED`, `RUNNING`, `SUBMITTED` and `OK` comes with a reason."""

    QUEUED = "queued"
    RUNNING = "running"
    SUBMITTED = "submitted"  # to another machine
    OK = "ok"
    # Known before the job starts
    INVALID_STRUCTURE = "invalid_structure"
    UNSUPPORTED_ELEMENT = "unsupported_element"
    TOO_LARGE = "too_large"
    OVER_BUDGET = "over_budget"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    # Known when it has run
    UNCONVERGED = "unconverged"
    NOT_COVERED = "not_covered"
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    CRASHED = "crashed"
    CORRUPT_OUTPUT = "corrupt_output"
    DISK_FULL = "disk_full"
    KILLED = "killed"  # by the machine: says nothing about the crystal
    INTERRUPTED = "interrupted"


# A second try under the same limits would fail in the same way, so these are remembered.
LASTING_FAILURES = frozenset(
    {
        JobStatus.UNCONVERGED,
        JobStatus.NOT_COVERED,
        JobStatus.TIME_LIMIT,
        JobStatus.MEMORY_LIMIT,
        JobStatus.INVALID_STRUCTURE,
    }
)

# States given by a plan; all others result from a run.
PLANNED_STATES = frozenset(
    {
        JobStatus.QUEUED,
        JobStatus.INVALID_STRUCTURE,
        JobStatus.UNSUPPORTED_ELEMENT,
        JobStatus.TOO_LARGE,
        JobStatus.OVER_BUDGET,
        JobStatus.ENGINE_UNAVAILABLE,
    }
)
# States of jobs that have not ended.
OPEN_STATES = frozenset({JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUBMITTED})
# Nothing is known about the crystal yet: the next run tries it automatically.
PASSING_STATES = frozenset({JobStatus.INTERRUPTED, JobStatus.DISK_FULL, JobStatus.KILLED})


# Errors of disks, network drives and limits of the system.
_FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
_MACHINE = frozenset({errno.EIO, errno.ESTALE, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})


def fault_of_machine(error: BaseException) -> tuple[JobStatus, str] | None:
    """A passing state and a sentence if the machine and not the crystal is to blame for an error, else None.

    Examples
    --------
    >>> fault_of_machine(MemoryError())[0].value, fault_of_machine(ValueError("no cell"))
    ('killed', None)
    """
    if isinstance(error, MemoryError):
        return JobStatus.KILLED, "The machine ran out of memory beside the job; it will be tried again."
    if isinstance(error, OSError) and error.errno in _FULL_DISK:
        return JobStatus.DISK_FULL, f"A file of the job cannot be written: {error}."
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return JobStatus.KILLED, f"The machine failed, not the crystal ({error}); it will be tried again."
    return None


class EngineError(RuntimeError):
    """A calculation ended without a usable result.

    Parameters
    ----------
    status
        Kind of the failure.
    reason
        A sentence.
    cpu_seconds
        CPU time used, in seconds.
    """

    def __init__(self, status: JobStatus, reason: str, cpu_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.cpu_seconds = cpu_seconds


@dataclass(frozen=True)
class FailedJob:
    """A DFT job without a result: one row with its status and reason.

    Parameters
    ----------
    material_id, formula
        Which crystal.
    status, reason
        Kind of the failure and a sentence about it.
    engine, functional, spin, settings_hash
        How it was tried.
    cpu_seconds
        CPU time used, in seconds.
    time_limit_s, memory_limit_mib
        Limits of the run: a failure for time or memory holds for these and smaller ones.
    """

    material_id: str
    formula: str
    status: JobStatus
    reason: str
    engine: str
    functional: str
    spin: str
    settings_hash: str
    cpu_seconds: float = 0.0
    time_limit_s: float = 0.0
    memory_limit_mib: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` reads them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FailedJob:
        """Rebuild from `as_dict`."""
        return cls(**{**values, "status": JobStatus(values["status"])})

    def holds_under(self, time_limit_s: float, memory_limit_mib: int) -> bool:
        """Whether another try under these limits would fail in the same way."""
        if self.status not in LASTING_FAILURES:
            return False
        if self.status is JobStatus.TIME_LIMIT:
            return time_limit_s <= self.time_limit_s
        if self.status is JobStatus.MEMORY_LIMIT:
            return memory_limit_mib <= self.memory_limit_mib
        return True
