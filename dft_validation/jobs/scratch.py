"""Scratch folders of jobs: removed when a job ends, or by the next job if its process was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "edos-"
_LOCK_FILE = ".lock"
# A folder without a lock is new, or that of a process that was killed just before it made the lock or after it removed it.
_SECONDS_WITHOUT_LOCK = 60


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder below the temporary one, named after this process and locked by it."""
    with (
        tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as folder,
        FileLock(Path(folder) / _LOCK_FILE, thread_local=False),
    ):
        yield Path(folder)


def remove_abandoned_folders() -> int:
    """Remove the folders of processes that were killed, and return how many.

    The system frees the lock of a process that dies, even in another container that shares the folder.
    """
    removed = 0
    now = time.time()
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not folder.is_symlink() and not _lives(int(pid)) and _is_free(folder, now):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


def _is_free(folder: Path, now: float) -> bool:
    try:
        state = folder.stat()
    except FileNotFoundError:
        return False  # another process removed it
    if state.st_uid != os.getuid():
        return False
    if not (folder / _LOCK_FILE).is_file():
        return now - state.st_mtime > _SECONDS_WITHOUT_LOCK
    lock = FileLock(folder / _LOCK_FILE)
    try:
        lock.acquire(timeout=0)
        lock.release()
    except (Timeout, OSError):
        return False
    return True
