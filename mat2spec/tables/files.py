"""Files that are complete or not there: atomic writing, hashes, errors as sentences, the cache folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

# What `mat2spec.tables.files.atomic_path` calls its temporary files.
TEMPORARY_FILES = ".*.partial"


class TableError(OSError):
    """A table or file could not be read or written; the message is a sentence for the user."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place once the block has ended well.

    On any error the temporary file is removed and `path` is what it was before.

    Examples
    --------
    >>> with atomic_path(target) as temporary:  # doctest: +SKIP
    ...     temporary.write_text("whole")

    Raises
    ------
    TableError
        If `path` is a pipe, a device or a socket.
    """
    path = Path(path)
    refuse_special(path)  # a rename would put a file in its place
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        # Of a full disk the system says no name; a person needs one.
        if error.errno is not None and error.filename is None and not isinstance(error, TableError):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let signals that would stop this thread wait until the block has ended (POSIX only)."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _umask() -> int:
    """Permissions that new files must not have; they can only be read by setting them, here to the strictest."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal text."""
    with Path(path).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def refuse_special(path: Path) -> None:
    """Refuse what is neither a file nor a folder: opening a pipe that nobody writes to would wait forever.

    Raises
    ------
    TableError
        If it is a pipe, a device or a socket.
    """
    try:
        mode = path.stat().st_mode
    except OSError:  # whoever opens it says why
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise TableError(f"{path} is a pipe, a device or a socket; a file is needed.")


def read_words(path: Path) -> list[str]:
    """Words of a list that a user wrote, as of identifiers, in UTF-8 or UTF-16, with or without its byte-order mark.

    Raises
    ------
    TableError
        If the file cannot be read or holds no text.
    """
    refuse_special(path)
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except OSError as error:
        raise explain_os_error(error, path, "read") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not a text in UTF-8 ({error}); save it as one.") from error
    return text.split()


def parse_json(text: str | bytes) -> Any:
    """Content of JSON text.

    Raises
    ------
    ValueError
        If it is not JSON, or nested so deeply that Python cannot parse it.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def explain_os_error(error: OSError, path: Path, action: str) -> TableError:
    """Turn an error of the operating system into a sentence that says what to do.

    Parameters
    ----------
    error
        What was raised.
    path
        The file concerned.
    action
        "write" or "read".
    """
    sentences = {
        errno.ENOSPC: f"The disk is full: cannot {action} {path}. Free some space and run the same command again; "
        "what is finished is kept.",
        errno.EDQUOT: f"Your disk quota is used up: cannot {action} {path}. Free some space and run the same command "
        "again; what is finished is kept.",
        errno.EACCES: f"No permission to {action} {path}. Change the permissions or choose another folder.",
        errno.EPERM: f"No permission to {action} {path}. Change the permissions or choose another folder.",
        errno.EROFS: f"The file system is read-only: cannot {action} {path}. Choose another folder.",
        errno.ENOENT: f"{path} does not exist. Check the path.",
        errno.EISDIR: f"{path} is a folder, a file is needed. Check the path.",
        errno.ELOOP: f"{path} is a symbolic link where a file of its own is needed. Remove the link.",
        errno.EIO: f"The disk or the network drive fails: cannot {action} {path}. Check it; what is finished is kept.",
        errno.ESTALE: f"The network drive has lost {path}. Mount it again; what is finished is kept.",
        errno.ENAMETOOLONG: f"The name of {path} is too long for the file system. Choose a shorter one.",
        errno.EMFILE: f"Too many files are open: cannot {action} {path}. Raise the limit (`ulimit -n`).",
        errno.ENFILE: f"The system has too many files open to {action} {path}. End other programs and run it again.",
        errno.EFBIG: f"{path} would be larger than a file may be here (`ulimit -f`, or the file system). Choose another folder.",
        errno.ENOMEM: f"There is not enough memory to {action} {path}. Free some and run the same command again.",
        errno.ENOTDIR: f"A part of the path {path} is a file, not a folder. Choose another folder.",
    }
    general = f"Cannot {action} {path}: {error.strerror or error}."
    return TableError(sentences.get(error.errno or 0, general))


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears at `path` only once it is complete and on the disk.

    Raises
    ------
    TableError
        If the file cannot be written. Nothing is left of it, whatever is raised in the block.
    """
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            yield file
        _sync_folder(path.parent)
    except OSError as error:
        raise explain_os_error(error, path, "write") from error


def _sync_folder(folder: Path) -> None:
    """Force a rename to the disk, where the system lets a folder be opened (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished_files(folder: Path) -> list[str]:
    """Remove temporary files that a killed process left in a folder, and return their names."""
    leftovers = sorted(folder.glob(TEMPORARY_FILES))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return [leftover.name for leftover in leftovers]


def make_folder(path: Path) -> Path:
    """Make a folder and those above it.

    Raises
    ------
    TableError
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise TableError(f"{path} is a file, a folder is needed. Choose another folder.") from error
    except OSError as error:
        raise explain_os_error(error, path, "write") from error
    return path
