"""Run an engine's program as a child process, and classify its failures."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dft_validation.engines.limits import PARENT_VARIABLE
from dft_validation.engines.processes import ChildGroup, ChildResult, current_group
from dft_validation.results.outcomes import EngineError, JobStatus
from dft_validation.settings import DftSettings

# Exit status of a worker that exceeded its memory limit.
EXIT_MEMORY = 77
_PROJECT_ROOT = Path(__file__).resolve().parents[2]
# Messages of interpreters and allocators when an address-space limit is hit outside Python's own allocator.
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
# A job that has not used up its CPU time after this many times its limit of wall time is stopped: it may hang.
_HANG_FACTOR = 20.0


@dataclass(frozen=True)
class Serving:
    """How to request a command's work from a server instead, see `dft_validation.engines.processes.ChildGroup.run_served`.

    Parameters
    ----------
    command
        Starts the server.
    request
        The task.
    """

    command: tuple[str, ...]
    request: Mapping[str, str]


def run_child(
    name: str,
    command: Sequence[str],
    folder: Path,
    log: Path,
    settings: DftSettings,
    serving: Serving | None = None,
) -> ChildResult:
    """Run a command in `folder` to successful completion.

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
        Time limit; the child limits its own memory and CPU time.
    serving
        Lets one server of the run do the work of many commands; outside a run each command starts its own process.

    Raises
    ------
    EngineError
        If it cannot be started, is stopped, or ends with an error.
    """
    group = current_group()
    hang_after_s = _HANG_FACTOR * settings.time_limit_s
    environment = child_environment()
    try:
        if group is not None and serving is not None:
            ended = group.run_served(
                serving.command, serving.request, log=log, environment=environment, time_limit_s=hang_after_s
            )
        else:
            ended = (group or ChildGroup()).run(
                command, folder=folder, log=log, environment=environment, time_limit_s=hang_after_s
            )
    except OSError as error:
        raise EngineError(JobStatus.ENGINE_UNAVAILABLE, f"The worker of {name} cannot be started: {error}.") from error
    _refuse_bad_end(ended, log, settings)
    return ended


def child_environment() -> dict[str, str]:
    """Environment of a child: one thread (more are six times slower for small cells), this package importable."""
    inherited = dict(os.environ)
    paths = [str(_PROJECT_ROOT), *filter(None, [inherited.get("PYTHONPATH")])]
    return {
        **inherited,
        PARENT_VARIABLE: str(os.getpid()),
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
        reason = (
            f"Stopped after {spent:.0f} s of wall time without using its {settings.time_limit_s:g} s of CPU time: the "
            "machine is overloaded or the job hung; it will be tried again."
        )
        raise EngineError(JobStatus.KILLED, reason, spent)
    killed = ended_by_signal(-ended.returncode, settings)
    if killed is not None:
        status, reason = killed
        raise EngineError(status, reason, settings.time_limit_s if status is JobStatus.TIME_LIMIT else spent)
    if ended.returncode == 0:
        return
    tail = read_tail(log)
    if ended.returncode == EXIT_MEMORY or any(message in tail for message in _MEMORY_MESSAGES):
        reason = f"The job reached its memory limit of {settings.memory_limit_mib} MiB; raise memory_limit_mib or leave it out."
        raise EngineError(JobStatus.MEMORY_LIMIT, reason, spent)
    if "No space left on device" in tail:
        raise EngineError(
            JobStatus.DISK_FULL, "The disk was full while the job ran; free some space and run again.", spent
        )
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    last = lines[-1] if lines else "it printed nothing"
    raise EngineError(JobStatus.CRASHED, f"The worker ended with status {ended.returncode}: {last[:300]}", spent)


def ended_by_signal(number: int, settings: DftSettings) -> tuple[JobStatus, str] | None:
    """Kind of a failure and a sentence if a limit or the machine ended a program by this signal, else None."""
    if number == signal.SIGXCPU:
        reason = f"Stopped after {settings.time_limit_s:g} s of CPU time; raise time_limit_s or leave it out."
        return JobStatus.TIME_LIMIT, reason
    if number in {signal.SIGKILL, signal.SIGTERM}:
        name = signal.Signals(number).name
        reason = f"The job was killed by {name}, e.g. because the machine ran out of memory; it will be tried again."
        return JobStatus.KILLED, reason
    return None


def read_tail(log: Path) -> str:
    """The end of a log, empty if there is none."""
    return log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:] if log.exists() else ""
