"""Files that are whole or not there: atomic writing, hashes, and Parquet that says what is wrong with it."""

from __future__ import annotations

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


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet table.

    Raises
    ------
    TableError
        If the file is missing, is no Parquet file, is damaged or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if not path.is_file():
        raise TableError(f"There is no table {path}; check the path.")
    try:
        parquet = pq.ParquetFile(path)
        missing = sorted(set(columns or ()) - set(parquet.schema_arrow.names))
        wanted = None if columns is None else [name for name in columns if name not in missing]
        table = parquet.read(columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            f"The file {path} is no readable Parquet table ({error}); replace it by a whole copy."
        ) from error
    if missing:
        raise TableError(f"The table {path} lacks the column(s) {', '.join(missing)}; add them or rename yours.")
    return table


def cache_dir(name: str) -> Path:
    """Folder of the user's cache for what can be computed again: `~/.cache/mat2spec-screening/<name>`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mat2spec-screening" / name
