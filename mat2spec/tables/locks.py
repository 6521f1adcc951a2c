"""Locks between processes: the system frees the lock of a process that dies, however it dies."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from mat2spec.tables.files import TableError, explain_os_error, make_folder


def take_lock(path: Path, patience_s: float = 0.0) -> FileLock:
    """Take the lock of this name, in a folder that is made if it is missing.

    Parameters
    ----------
    path
        File of the lock.
    patience_s
        How long to wait for another process.

    Returns
    -------
    filelock.FileLock
        The lock; `release` lets go of it.

    Raises
    ------
    filelock.Timeout
        If another process holds it for longer.
    TableError
        If the file cannot be written, or its file system has no locks.
    """
    make_folder(path.parent)
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=patience_s)
    except Timeout:
        raise
    except NotImplementedError as error:
        raise TableError(
            f"The file system of {path.parent} has no locks, so that two processes could write the same. Choose a folder "
            "on another one."
        ) from error
    except OSError as error:
        raise explain_os_error(error, path, "write") from error
    return lock
