"""Workers of a program that dies in the first moments of their lives, in any way, end too."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from dft_validation.engines.child import child_environment
from dft_validation.engines.processes import ChildGroup

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")

# What a worker may need to start before it notices that its parent is gone, on a busy machine.
PATIENCE_S = 60.0
DELAYS_MS = [0, 1, 2, 3, 5, 7, 10, 13, 16, 20, 25, 30]
SIGNALS = [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM]
WORKERS = {
    "program": ["-m", "dft_validation.engines.limited", "2000", "60", "cost.json", "sleep", "50"],
    "gpaw": ["-m", "dft_validation.engines.gpaw_worker", "input.json", "output.json"],
    "gpaw server": ["-m", "dft_validation.engines.gpaw_worker", "--serve"],
}


def start_parent(folder: Path, arguments: list[str]) -> int:
    """A process that starts one worker and waits for it; its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in SIGNALS[1:]:
            signal.signal(number, signal.SIG_DFL)
        (folder / "started").touch()
        ChildGroup().run(
            [sys.executable, *arguments],
            folder=folder,
            log=folder / "log",
            environment=child_environment(),
            time_limit_s=PATIENCE_S,
        )
    finally:
        os._exit(0)


def alive_in(folder: Path) -> list[psutil.Process]:
    """Processes whose working folder is this one: workers and what they started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.0005)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("worker", WORKERS)
def test_no_worker_outlives_a_parent_killed_in_its_first_moments(tmp_path, worker):
    folders = []
    for number, delay_ms in enumerate(DELAYS_MS):
        folder = tmp_path / str(delay_ms)
        folder.mkdir()
        folders.append(folder)
        parent = start_parent(folder, WORKERS[worker])
        wait_for(folder / "log" if number % 2 else folder / "started")
        time.sleep(delay_ms / 1000)
        os.kill(parent, SIGNALS[number % len(SIGNALS)])
        os.waitpid(parent, 0)
    end = time.monotonic() + PATIENCE_S
    while any(alive_in(folder) for folder in folders) and time.monotonic() < end:
        time.sleep(0.2)
    left = [process for folder in folders for process in alive_in(folder)]
    for process in left:
        process.kill()
    assert left == []
