"""Workers of a program that dies in the first moments of their lives, in any way, end too."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from dft_validation.engines.child import child_environment
from dft_validation.engines.gpaw import GpawEngine
from dft_validation.engines.processes import ChildGroup, member_of
from dft_validation.settings import DftSettings
from mat2spec.crystals.cell import Cell

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


def start_parent(folder: Path, work: Callable[[Path], object]) -> int:
    """A process that does some work in a folder; its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in SIGNALS[1:]:
            signal.signal(number, signal.SIG_DFL)
        os.chdir(folder)
        (folder / "started").touch()
        work(folder)
    finally:
        os._exit(0)


def run_worker(arguments: list[str]) -> Callable[[Path], object]:
    return lambda folder: ChildGroup().run(
        [sys.executable, *arguments],
        folder=folder,
        log=folder / "log",
        environment=child_environment(),
        time_limit_s=PATIENCE_S,
    )


def compute_by_gpaw(folder: Path) -> None:
    """A crystal whose calculation takes minutes."""
    cell = Cell(4.0 * np.eye(3), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0.5]]), np.array([38, 23, 8]))
    GpawEngine().calculate(cell, (12, 12, 12), 8, DftSettings(time_limit_s=600), folder)


def compute_by_a_server(folder: Path) -> None:
    with member_of(ChildGroup()):
        compute_by_gpaw(folder)


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


def left_in(folders: list[Path]) -> list[psutil.Process]:
    """Processes that do not end in these folders by themselves; they are ended."""
    end = time.monotonic() + PATIENCE_S
    while any(alive_in(folder) for folder in folders) and time.monotonic() < end:
        time.sleep(0.2)
    left = [process for folder in folders for process in alive_in(folder)]
    for process in left:
        process.kill()
    return left


@pytest.mark.timeout(300)
@pytest.mark.parametrize("worker", WORKERS)
def test_no_worker_outlives_a_parent_killed_in_its_first_moments(tmp_path, worker):
    folders = []
    for number, delay_ms in enumerate(DELAYS_MS):
        folder = tmp_path / str(delay_ms)
        folder.mkdir()
        folders.append(folder)
        parent = start_parent(folder, run_worker(WORKERS[worker]))
        wait_for(folder / "log" if number % 2 else folder / "started")
        time.sleep(delay_ms / 1000)
        os.kill(parent, SIGNALS[number % len(SIGNALS)])
        os.waitpid(parent, 0)
    assert left_in(folders) == []


@pytest.mark.dft
@pytest.mark.timeout(300)
@pytest.mark.parametrize("work", [compute_by_gpaw, compute_by_a_server], ids=["worker", "fork of a server"])
def test_no_calculation_of_gpaw_outlives_its_program(tmp_path, work):
    folders = [tmp_path / str(delay_ms) for delay_ms in (0, 30)]
    for folder in folders:
        folder.mkdir()
    parents = [start_parent(folder, work) for folder in folders]
    for number, (folder, parent) in enumerate(zip(folders, parents, strict=True)):
        wait_for(folder / "output.log")  # GPAW has begun
        time.sleep(int(folder.name) / 1000)
        assert len(alive_in(folder)) == (2 if work is compute_by_gpaw else 3)
        os.kill(parent, SIGNALS[number])
        os.waitpid(parent, 0)
    assert left_in(folders) == []
    assert not list(tmp_path.glob("*/output.json"))
