"""Run an engine's program as a child process, and turn a bad end into the kind of its failure."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from dft_validation.outcomes import EngineError, JobStatus
from dft_validation.processes import ChildResult, current_group
from dft_validation.settings import DftSettings

# Exit status of a worker that ran out of the memory it may use.
EXIT_MEMORY = 77
_PROJECT_ROOT = Path(__file__).resolve().parents[2]
# What interpreters and allocators print when an address-space limit is hit outside Python's own allocator.
_MEMORY_MESSAGES = (
    "MemoryError",
    "Cannot allocate memory",
    "std::bad_alloc",
    "failed to map segment",
    "Unable to allocate",
    "Insufficient virtual memory",
    "Allocation would exceed memory limit",
)
_LOG_TAIL_CHARACTERS = 20_000


def run_child(name: str, command: Sequence[str], folder: Path, log: Path, settings: DftSettings) -> ChildResult:
    """Run a command in `folder` to its good end.

    Parameters
    ----------
    name
        The engine, for messages.
    command
        Program and arguments.
    folder
        Working folder.
    log
        Receives what the child prints.
    settings
        Time limit; the child limits its own memory.

    Raises
    ------
    EngineError
        If it cannot be started, is stopped, or ends with an error.
    """
    try:
        ended = current_group().run(
            command, folder=folder, log=log, environment=child_environment(), time_limit_s=settings.time_limit_s
        )
    except OSError as error:
        raise EngineError(JobStatus.ENGINE_UNAVAILABLE, f"The worker of {name} cannot be started: {error}.") from error
    _refuse_bad_end(ended, log, settings)
    return ended


def child_environment() -> dict[str, str]:
    """Environment of a child: one thread (more are six times slower on small cells), this package importable."""
    inherited = dict(os.environ)
    paths = [str(_PROJECT_ROOT), *filter(None, [inherited.get("PYTHONPATH")])]
    return {
        **inherited,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(paths),
    }


def _refuse_bad_end(ended: ChildResult, log: Path, settings: DftSettings) -> None:
    spent = ended.wall_seconds
    if ended.stopped:
        raise EngineError(
            JobStatus.INTERRUPTED, "The run was stopped while this job ran; run again to finish it.", spent
        )
    if ended.timed_out:
        raise EngineError(
            JobStatus.TIME_LIMIT,
            f"Stopped after the time limit of {settings.time_limit_s:g} s; raise time_limit_s or leave it out.",
            spent,
        )
    if ended.returncode == 0:
        return
    tail = read_tail(log)
    killed = ended.returncode == -signal.SIGKILL
    if ended.returncode == EXIT_MEMORY or killed or any(message in tail for message in _MEMORY_MESSAGES):
        how = "ended by the system" if killed else f"stopped at the memory limit of {settings.memory_limit_mib} MiB"
        raise EngineError(JobStatus.MEMORY_LIMIT, f"The job was {how}; raise memory_limit_mib or leave it out.", spent)
    if "No space left on device" in tail:
        raise EngineError(
            JobStatus.DISK_FULL, "The disk was full while the job ran; free some space, run again.", spent
        )
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    last = lines[-1] if lines else "it printed nothing"
    raise EngineError(JobStatus.CRASHED, f"The worker ended with status {ended.returncode}: {last[:300]}", spent)


def read_tail(log: Path) -> str:
    """The end of a log, empty if there is none."""
    return log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:] if log.exists() else ""
