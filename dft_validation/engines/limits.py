"""Limits that a worker process sets itself before it starts, including to end with its parent.

Uses only the standard library, so that a worker loads nothing but its engine.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import sys
from pathlib import Path

# Environment variable with the process id of the program that starts a child.
PARENT_VARIABLE = "STARTED_BY_MAT2SPEC"
_PR_SET_PDEATHSIG = 1
# CPU seconds between the signal that a program can catch and the one that it cannot.
_CPU_GRACE_SECONDS = 5


def started_by() -> int:
    """Process id of the program that started this one; the present parent may be another if that one has died."""
    return int(os.environ.get(PARENT_VARIABLE) or os.getppid())


def end_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent dies in any way (Linux only).

    Parameters
    ----------
    parent
        Process id of the parent, determined before it could have died.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before the request.
    if os.getppid() != parent:
        os._exit(1)


def make_session_as_nice() -> None:
    """Give the session of this process the niceness of the process, if the process leads it.

    A Linux that groups processes by session weighs the niceness of a process only against others of its session, and a
    worker has one of its own: it would take as much of the machine as a program that is not nice at all. A session that
    someone else began is left alone: all that runs in that terminal would become nice.
    """
    if os.getsid(0) != os.getpid():
        return
    with contextlib.suppress(OSError):  # grouping is off, or belongs to a container
        Path("/proc/self/autogroup").write_text(str(os.nice(0)))


def limit_cpu(cpu_limit_s: float) -> None:
    """Limit the CPU time of this process, in seconds; the kernel then ends it with SIGXCPU, without a core dump."""
    limit = math.ceil(cpu_limit_s)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + _CPU_GRACE_SECONDS))
