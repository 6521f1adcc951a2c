"""How many cores a command could use, and how busy it keeps a GPU: `python benchmarks/processor_demand.py COMMAND...`.

Every 20 ms the threads of the command that run, or would if a core were free, are counted, at most as many as there are cores. On
a machine that others use, too, processor time over elapsed time says how much they leave; this says how much is asked for. Threads
that wait for Python's lock count as idle. Linux only; threads of child processes are not counted. Where there is nvidia-smi, it says
for what share of the time the first GPU was at work. All of the Materials Project with one:

    python benchmarks/processor_demand.py mat2spec screen --source DATA/mp_structures.parquet --no-dft --device cuda
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS_BETWEEN = 0.02
GPU_QUERY = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=1000"]


def runnable_threads(process: int) -> int:
    """Threads of a process that run or wait for a core."""
    states = []
    with suppress(OSError):  # it has ended
        for stat in Path(f"/proc/{process}/task").glob("*/stat"):
            with suppress(OSError):  # a thread that has ended
                states.append(stat.read_text().rpartition(")")[2].split()[0])
    return states.count("R")


@contextmanager
def watched_gpu() -> Iterator[list[int]]:
    """Percent of every second in which the first GPU was at work, known at the end; empty without the program that says it."""
    busy: list[int] = []
    if shutil.which(GPU_QUERY[0]) is None:
        yield busy
        return
    with tempfile.TemporaryFile() as answers, subprocess.Popen(GPU_QUERY, stdout=answers) as watch:
        try:
            yield busy
        finally:
            watch.terminate()
            watch.wait()
            answers.seek(0)
            busy += [int(line) for line in answers.read().split() if line.isdigit()]


def main() -> None:
    """Run the command and print for each second what it asked for, then all together."""
    n_cores = os.cpu_count() or 1
    start = time.perf_counter()
    counts: list[tuple[int, int]] = []
    with watched_gpu() as gpu, subprocess.Popen(sys.argv[1:]) as command:
        while command.poll() is None:
            counts.append((int(time.perf_counter() - start), min(runnable_threads(command.pid), n_cores)))
            time.sleep(SECONDS_BETWEEN)
    elapsed, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    for second in sorted({second for second, _ in counts}):
        of_second = [count for when, count in counts if when == second]
        of_gpu = f", GPU {gpu[second]:3} %" if second < len(gpu) else ""
        print(f"{second:6} s {100 * sum(of_second) / len(of_second):4.0f} %{of_gpu}")
    processor = used.ru_utime + used.ru_stime
    print(f"asked for {100 * sum(count for _, count in counts) / len(counts):.0f} %")
    if gpu:
        print(f"GPU at work {sum(gpu) / len(gpu):.0f} %")
    print(f"{processor:.1f} s of processor time in {elapsed:.1f} s, peak {used.ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
