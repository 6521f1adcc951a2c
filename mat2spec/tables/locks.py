"""Locks between processes: the system frees the lock of a process that dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import tempfile
import warnings
from pathlib import Path

from filelock import FileLock, Timeout

from mat2spec.tables.files import TableError, explain_os_error, make_folder

# What filelock says of ENOSYS on the terminal; `take_lock` says it in its own words.
warnings.filterwarnings("ignore", message="flock not supported")
# What file systems without locks answer: NFS without its lock daemon, Lustre mounted without flock, and others.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


def say_no_locks(folder: Path) -> str:
    """What to do about a folder whose file system has no locks."""
    return (
        f"The file system of {folder} has no locks, so that two processes could write the same. Choose a folder on another "
        "one: --results-dir for runs, --set dft.cache_dir=... for results of DFT."
    )


def lacks_locks(folder: Path) -> bool:
    """Whether the file system of a folder refuses the locks that databases use."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _NO_LOCKS
    return False


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
        raise TableError(say_no_locks(path.parent)) from error
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise TableError(say_no_locks(path.parent)) from error
        raise explain_os_error(error, path, "write") from error
    if type(lock) is not FileLock:
        # What filelock makes of ENOSYS: a file that outlives its holder on another machine, and databases have no such thing.
        lock.release()
        raise TableError(say_no_locks(path.parent))
    return lock
