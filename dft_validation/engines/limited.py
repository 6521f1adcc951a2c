"""Run a program within limits of memory and CPU time and record its cost.

`python -m ...limited MIB CPU_SECONDS COST_FILE PROGRAM ...` is for programs that, unlike the GPAW worker, cannot limit
themselves. It ends with the process that started it, and the program ends with it; it ends by the signal that ended
the program, so that the parent sees the same.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

from dft_validation.engines.limits import end_with_parent, limit_cpu, make_session_as_nice, started_by

EXIT_NOT_FOUND = 127


def _limit_memory(memory_limit_mib: int) -> None:
    # macOS refuses to limit the address space and has no signal for a parent's death.
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_limit_mib * 2**20,) * 2)


def _start(memory_limit_mib: int, cpu_limit_s: int, command: list[str]) -> int:
    """Process id of the program; exit status 127 if it cannot be started."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        end_with_parent(parent)
        limit_cpu(cpu_limit_s)
        _limit_memory(memory_limit_mib)
        os.execvp(command[0], command)  # noqa: S606 - the program is a setting
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error}\n")
    os._exit(EXIT_NOT_FOUND)


def main(arguments: list[str]) -> int:
    """Run the program; return its exit status."""
    memory_limit_mib, cpu_limit_s, cost_file, *command = arguments
    end_with_parent(started_by())
    make_session_as_nice()
    started = time.monotonic()
    _, status, usage = os.wait4(_start(int(memory_limit_mib), int(cpu_limit_s), command), 0)
    to_mib = 2**10 if sys.platform == "linux" else 2**20
    cost = {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": time.monotonic() - started,
        "peak_memory_mib": usage.ru_maxrss / to_mib,
    }
    Path(cost_file).write_text(json.dumps(cost))
    if os.WIFSIGNALED(status):
        ended_by = os.WTERMSIG(status)
        if ended_by in {signal.SIGKILL, signal.SIGTERM, signal.SIGXCPU}:
            os.kill(os.getpid(), ended_by)
        return 128 + ended_by
    return os.WEXITSTATUS(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
