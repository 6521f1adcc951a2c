"""A cache on disk of what is costly to compute of a crystal: arrays by kind and structure hash, of bounded size.

One SQLite file with a write-ahead log: several processes may use it at once, and one that is killed while writing leaves it
whole. Nothing depends on it: what is missing, damaged or cannot be read is computed again.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import Timeout
from numpy.typing import NDArray

from mat2spec.settings import PredictionSettings
from mat2spec.tables.files import TableError, make_folder
from mat2spec.tables.locks import lacks_locks, say_no_locks, take_lock

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Array = NDArray[np.float32]

# The number changes with the layout of the file.
FILE = "arrays-1.sqlite"
# When the limit is reached, so large a share of it is kept.
_KEPT = 0.9
_PATIENCE_S = 30.0
_SECONDS_PER_DAY = 86_400
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_TABLE = (
    "create table if not exists arrays (key text primary key, n_rows integer not null, width integer not null, "
    "used_day integer not null, checksum integer not null, content blob not null)"
)
# The rows used longest ago that together hold so many bytes.
_OLDEST = (
    "delete from arrays where rowid in (select rowid from (select rowid, sum(length(content)) over "
    "(order by used_day, rowid) - length(content) as before from arrays) where before < ?)"
)


class ArrayCache:
    """Arrays in a file, those used longest ago making room for others.

    Parameters
    ----------
    folder
        Folder of the file, made when the first array is asked for.
    max_bytes
        Size of the file from which arrays are removed.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.path = folder / FILE
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file_id = 0
        self._is_off = False

    def look_up(
        self,
        kind: str,
        hashes: Sequence[str],
        n_rows: Sequence[int],
        compute: Callable[[list[int]], Sequence[Array | None]],
    ) -> list[Array | None]:
        """The arrays of some crystals, in order, of which only those that are not stored are computed.

        Parameters
        ----------
        kind
            What they are, with the version of what computes them.
        hashes
            Which crystal each belongs to.
        n_rows
            Rows of each, by which an array of another crystal is told.
        compute
            Gives the arrays of the crystals with these positions; None, which is not stored, where there is none.
        """
        keys = [f"{kind}|{name}" for name in hashes]
        nothing: dict[str, Array] = {}
        stored = self._with_file(lambda file: _load(file, keys), nothing)
        found = [stored.get(key) for key in keys]
        found = [None if rows is None or len(rows) != n else rows for rows, n in zip(found, n_rows, strict=True)]
        missing = [index for index, rows in enumerate(found) if rows is None]
        if not missing:
            return found
        for index, rows in zip(missing, compute(missing), strict=True):
            found[index] = rows
        new = {keys[index]: rows for index in missing if (rows := found[index]) is not None}
        self._with_file(lambda file: _store(file, new, self.max_bytes), None)
        return found

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _with_file(self, work: Callable[[sqlite3.Connection], Answer], otherwise: Answer) -> Answer:
        """What some work on the file gives; if the file is in the way, a warning and the other answer."""
        with self._lock:
            if self._is_off:
                return otherwise
            try:
                if self._connection is None:
                    self._connection = self._open()
                return work(self._connection)
            except sqlite3.Error as error:
                code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
                if code in _DAMAGED:
                    self._set_aside(error)
                elif code not in _BUSY:
                    self._give_up(error)
            except OSError as error:
                self._give_up(error)
            return otherwise

    def _open(self) -> sqlite3.Connection:
        folder = make_folder(self.path.parent)
        if lacks_locks(folder):
            raise TableError(say_no_locks(folder))
        connection = sqlite3.connect(self.path, timeout=_PATIENCE_S, check_same_thread=False)
        self._file_id = _file_id(self.path)
        try:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = normal")
            with connection:
                connection.execute(_TABLE)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self, error: Exception) -> None:
        """Put a damaged file out of the way, unless another process has done so."""
        logger.warning("The cache %s is damaged (%s); it begins anew.", self.path, error)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        try:
            lock = take_lock(self.path.with_suffix(".lock"), _PATIENCE_S)
        except (Timeout, OSError) as fault:
            self._give_up(fault)
            return
        try:
            if _file_id(self.path) == self._file_id:
                for ending in ("-wal", "-shm"):
                    Path(f"{self.path}{ending}").unlink(missing_ok=True)
                self.path.replace(self.path.with_suffix(".corrupt"))
        except OSError as fault:
            self._give_up(fault)
        finally:
            lock.release()

    def _give_up(self, error: Exception) -> None:
        logger.warning("The cache %s cannot be used (%s); everything is computed.", self.path, error)
        self._is_off = True


def descriptor_cache(settings: PredictionSettings) -> ArrayCache | None:
    """The cache of descriptors of the settings, one per process; None if they want none."""
    bytes_at_most = round(settings.descriptor_cache_gib * 2**30)
    return _descriptor_cache(settings.descriptor_cache_dir, bytes_at_most) if bytes_at_most else None


@cache
def _descriptor_cache(folder: Path, max_bytes: int) -> ArrayCache:
    return ArrayCache(folder, max_bytes)


def _file_id(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_ino
    return 0


def _load(file: sqlite3.Connection, keys: Sequence[str]) -> dict[str, Array]:
    today = int(time.time() // _SECONDS_PER_DAY)
    found, used = {}, []
    for key in keys:
        row = file.execute(
            "select n_rows, width, checksum, content, used_day from arrays where key = ?", (key,)
        ).fetchone()
        if row is None:
            continue
        n_rows, width, checksum, content, used_day = row
        if zlib.crc32(content) != checksum:
            logger.warning("An array of the cache of descriptors is damaged (%s); it is computed again.", key)
            continue
        found[key] = _unpack(content, n_rows, width)
        if used_day < today:
            used.append((today, key))
    if used:
        with file:
            file.executemany("update arrays set used_day = ? where key = ?", used)
    return found


def _store(file: sqlite3.Connection, arrays: dict[str, Array], max_bytes: int) -> None:
    today = int(time.time() // _SECONDS_PER_DAY)
    rows = []
    for key, values in arrays.items():
        content = _pack(values)
        rows.append((key, *values.shape, today, zlib.crc32(content), content))
    with file:
        file.executemany("insert or replace into arrays values (?, ?, ?, ?, ?, ?)", rows)
        pages, free, page_size = (
            file.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        size = (pages - free) * page_size
        if size > max_bytes:
            file.execute(_OLDEST, (size - _KEPT * max_bytes,))


def _pack(values: Array) -> bytes:
    """Bytes of an array; rows that are equal, as those of equivalent sites are, are written once."""
    rows = np.ascontiguousarray(values, dtype="<f4")
    places: dict[bytes, int] = {}
    place = np.array([places.setdefault(row.tobytes(), len(places)) for row in rows], dtype="<u4")
    return place.tobytes() + b"".join(places)


def _unpack(content: bytes, n_rows: int, width: int) -> Array:
    place = np.frombuffer(content, dtype="<u4", count=n_rows)
    distinct = np.frombuffer(content, dtype="<f4", offset=4 * n_rows).reshape(-1, width)
    return distinct[place].astype(np.float32, copy=False)
