"""How predictions are computed: threads in parallel, and sums in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


def count_workers(device: torch.device) -> int:
    """Threads that `worker_threads` starts."""
    return torch.get_num_threads() if device.type == "cpu" else 1


@contextmanager
def worker_threads(device: torch.device, *, flush_denormals: bool = True) -> Iterator[ThreadPoolExecutor]:
    """Threads that work on batches in parallel.

    On a CPU, one thread per core with its own batch is faster than all cores on one batch, as the
    operations are too small to be split. A GPU is fed by a single thread. Numbers below 1e-38 are zero in these threads:
    with them, as symmetry leaves them in matrices, products take up to four times as long. phonopy, whose threads inherit
    that, finds wrong force constants then: for it there is `flush_denormals`.
    """
    n_threads = torch.get_num_threads()
    executor = ThreadPoolExecutor(
        max_workers=count_workers(device),
        initializer=torch.set_flush_denormal,
        initargs=(flush_denormals,),
    )
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
        torch.set_num_threads(n_threads)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Numbers below 1e-38 are zero in this thread, which keeps exponentials of large negative numbers fast."""
    before = bool(torch.full((), 1e-38) * 1e-2 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


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
