"""Files that are whole or not there: atomic writing, hashes, and Parquet that says what is wrong with it."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


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
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal text."""
    with Path(path).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


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
        errno.ENOTDIR: f"A part of the path {path} is a file, not a folder. Choose another folder.",
    }
    general = f"Cannot {action} {path}: {error.strerror or error}."
    return TableError(sentences.get(error.errno or 0, general))


@contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """Turn what Arrow and the operating system raise while a Parquet file is read into sentences.

    Raises
    ------
    TableError
        If the file is missing, damaged or not readable.
    """
    import pyarrow as pa

    try:
        _require_file(path)
        yield
    except TableError:
        raise
    except OSError as error:
        if error.errno is None:
            raise TableError(_corrupt(path, error)) from error
        raise explain_os_error(error, path, "read") from error
    except pa.ArrowException as error:
        raise TableError(_corrupt(path, error)) from error


def _require_file(path: Path) -> None:
    if not path.exists():
        raise TableError(f"There is no table at {path}. Check the path, or run what writes it.")
    if path.is_dir():
        raise TableError(f"{path} is a folder, a Parquet file is needed. Check the path.")


def _corrupt(path: Path, error: Exception) -> str:
    detail = str(error).splitlines()[0].rstrip(".")
    return f"{path} is no readable Parquet file, it is damaged or of another kind ({detail}). Replace or remove it."


def require_columns(path: Path, columns: Sequence[str]) -> list[str]:
    """Refuse a Parquet file that lacks columns, and return the names of those it has.

    Raises
    ------
    TableError
        If the file is missing or damaged, or lacks a column.
    """
    import pyarrow.parquet as pq

    with reading_parquet(path):
        present = list(pq.read_schema(path).names)
    missing = [str(name) for name in columns if name not in present]
    if missing:
        raise TableError(
            f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"it has {', '.join(present)}."
        )
    return present


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet table, or some of its columns.

    Raises
    ------
    TableError
        If the file is missing, damaged, not readable, or lacks a column asked for.
    """
    import pyarrow.parquet as pq

    path = Path(path)
    with reading_parquet(path):
        if columns is not None:
            require_columns(path, columns)
        return pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None)


def cache_dir(name: str) -> Path:
    """Folder of the user's cache for what can be computed again: `~/.cache/mat2spec-screening/<name>`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mat2spec-screening" / name
