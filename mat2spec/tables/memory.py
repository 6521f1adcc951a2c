"""Memory that is free and kept for later, given back to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

import pyarrow as pa

# Larger blocks go back to the system as soon as they are free; more often than that the system would be asked for too many.
_LARGE_BLOCK_BYTES = 4 * 2**20
_M_MMAP_THRESHOLD = -3  # of malloc.h


def release_memory() -> None:
    """Give back what tables no longer need: Arrow keeps hundreds of megabytes for tables, the C library what lies between others."""
    pa.default_memory_pool().release_unused()
    _call_of_glibc("malloc_trim", 0)


@cache
def return_large_blocks() -> None:
    """From now on, whatever thread frees a large block gives it back at once.

    Unless told, the C library keeps blocks of up to 32 MB for each of a dozen threads, which together grow to a gigabyte in a
    screen of 100,000 candidates.
    """
    _call_of_glibc("mallopt", _M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)


def _call_of_glibc(name: str, *arguments: int) -> None:
    """Call a function that glibc has, and musl has not."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)
