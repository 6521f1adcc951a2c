"""What a process that computes does to itself before it starts: it ends with its parent and keeps to limits.

Nothing but the standard library, so that a worker need not load more than its engine.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys

# Names the process that starts a child to it, in its environment.
PARENT_VARIABLE = "STARTED_BY_MAT2SPEC"
_PR_SET_PDEATHSIG = 1
# Between the signal that a program may catch and the one that it may not, in CPU seconds.
_CPU_GRACE_SECONDS = 5


def started_by() -> int:
    """Process id of the program that started this one; its parent now may be another, if that one died meanwhile."""
    return int(os.environ.get(PARENT_VARIABLE) or os.getppid())


def end_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent dies, however it dies (Linux only).

    Parameters
    ----------
    parent
        Process id of the parent, as it was before anything could happen to it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before it was asked for.
    if os.getppid() != parent:
        os._exit(1)


def limit_cpu(cpu_limit_s: float) -> None:
    """Limit the CPU time of this process, in seconds; the kernel then ends it with SIGXCPU and leaves no core."""
    limit = math.ceil(cpu_limit_s)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + _CPU_GRACE_SECONDS))
