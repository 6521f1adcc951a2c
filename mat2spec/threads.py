"""How predictions are computed: threads in parallel, and sums in a fixed order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


class _TorchThreads:
    """One thread for each operation while anybody computes in threads of its own, also where several do at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._given = 1

    @property
    def given(self) -> int:
        """Threads of an operation while nobody does."""
        return self._given if self._users else torch.get_num_threads()

    def enter(self) -> None:
        """One more computes so."""
        with self._lock:
            if not self._users:
                self._given = torch.get_num_threads()
                torch.set_num_threads(1)
            self._users += 1

    def leave(self) -> None:
        """One less; after the last everything is as before."""
        with self._lock:
            self._users -= 1
            if not self._users:
                torch.set_num_threads(self._given)


_TORCH = _TorchThreads()


def count_workers(device: torch.device) -> int:
    """Threads that `worker_threads` starts."""
    return _TORCH.given if device.type == "cpu" else 1


@contextmanager
def worker_threads(device: torch.device, *, flush_denormals: bool = True) -> Iterator[ThreadPoolExecutor]:
    """Threads that work on batches in parallel; several may do so at a time.

    On a CPU, one thread per core with its own batch is faster than all cores on one batch, as the
    operations are too small to be split. A GPU is fed by a single thread. Numbers below 1e-38 are zero in these threads:
    with them, as symmetry leaves them in matrices, products take up to four times as long. phonopy, whose threads inherit
    that, finds wrong force constants then: for it there is `flush_denormals`.
    """
    executor = ThreadPoolExecutor(
        max_workers=count_workers(device), initializer=torch.set_flush_denormal, initargs=(flush_denormals,)
    )
    is_cpu = device.type == "cpu"
    if is_cpu:
        _TORCH.enter()
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
        if is_cpu:
            _TORCH.leave()


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Sums over groups in a fixed order, also on a GPU."""
    if device.type == "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
