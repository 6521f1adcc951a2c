"""How many cores a command could use: `python benchmarks/processor_demand.py COMMAND...`.

Every 20 ms the threads of the command that run, or would if a core were free, are counted, at most as many as there are cores. On
a machine that others use, too, processor time over elapsed time says how much they leave; this says how much is asked for. Threads
that wait for Python's lock count as idle. Linux only; threads of child processes are not counted.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

SECONDS_BETWEEN = 0.02


def runnable_threads(process: int) -> int:
    """Threads of a process that run or wait for a core."""
    states = []
    with suppress(OSError):  # it has ended
        for stat in Path(f"/proc/{process}/task").glob("*/stat"):
            with suppress(OSError):  # a thread that has ended
                states.append(stat.read_text().rpartition(")")[2].split()[0])
    return states.count("R")


def main() -> None:
    """Run the command and print for each second what it asked for, then all together."""
    n_cores = os.cpu_count() or 1
    start = time.perf_counter()
    command = subprocess.Popen(sys.argv[1:])
    counts: list[tuple[int, int]] = []
    while command.poll() is None:
        counts.append((int(time.perf_counter() - start), min(runnable_threads(command.pid), n_cores)))
        time.sleep(SECONDS_BETWEEN)
    elapsed, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    for second in sorted({second for second, _ in counts}):
        of_second = [count for when, count in counts if when == second]
        print(f"{second:6} s {100 * sum(of_second) / len(of_second):4.0f} %")
    processor = used.ru_utime + used.ru_stime
    print(f"asked for {100 * sum(count for _, count in counts) / len(counts):.0f} %")
    print(f"{processor:.1f} s of processor time in {elapsed:.1f} s, peak {used.ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
