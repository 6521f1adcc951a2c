"""The queue on disk: one row per job in an SQLite file that outlives any process working on it.

Why an SQLite file and not a workflow manager's own store? These were tried with the same kind of work. The file LaunchPad
of FireWorks 2.1.4 is written when a process ends, so two workers on 200 jobs both ran all 200, and `kill -9` after 70
finished jobs left all 200 to do; of 200 outputs that two processes wrote to one JSONStore of jobflow, 100 survived.
SQLite is part of Python, changes a row in one transaction, and stays consistent after a power cut.

The queue records what is to be done and its state. The results themselves are in `dft_validation.results.cache`, from
which a lost queue can be rebuilt.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dft_validation.results.outcomes import JobStatus
from mat2spec.tables.locks import lacks_locks, say_no_locks

logger = logging.getLogger(__name__)

QUEUE_FILE = "dft_queue.sqlite"
_BUSY_SECONDS = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    position INTEGER PRIMARY KEY,
    material_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    estimated_cpu_seconds REAL,
    cpu_seconds REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    again INTEGER NOT NULL DEFAULT 0,
    overrides TEXT NOT NULL DEFAULT '{}',
    cache_key TEXT NOT NULL DEFAULT '',
    remote_id TEXT NOT NULL DEFAULT ''
)
"""
# Format of the file, its PRAGMA user_version: 0 before versions were written.
VERSION = 1
# Columns that files of format 0 may lack.
_ADDED_COLUMNS = {
    "again": "INTEGER NOT NULL DEFAULT 0",
    "overrides": "TEXT NOT NULL DEFAULT '{}'",
    "cache_key": "TEXT NOT NULL DEFAULT ''",
    "remote_id": "TEXT NOT NULL DEFAULT ''",
}

_SELECT = """
SELECT material_id, state, reason, estimated_cpu_seconds, cpu_seconds, attempts, again, overrides, cache_key, remote_id
FROM jobs WHERE state IN (SELECT value FROM json_each(?)) ORDER BY position
"""


class QueueError(OSError):
    """The file of the queue cannot be used; the message is a sentence."""


class QueueFullError(QueueError):
    """The disk is too full to record the outcome of a job."""


@dataclass(frozen=True)
class QueuedJob:
    """One row of the queue.

    Parameters
    ----------
    material_id
        Which crystal.
    state, reason
        Its present state, with the reason.
    estimated_cpu_seconds
        Expected cost in seconds, None if there is no estimate.
    cpu_seconds
        CPU time it cost, in seconds.
    attempts
        How often it ended here, by a calculation or by finding its result.
    again
        Whether to ignore a recorded failure.
    overrides
        Settings of this job that differ from those of the run.
    cache_key
        Key of its result in the cache; empty until it is first taken.
    remote_id
        Identifier of the job on another machine; empty if it was not submitted.
    """

    material_id: str
    state: JobStatus
    reason: str = ""
    estimated_cpu_seconds: float | None = None
    cpu_seconds: float = 0.0
    attempts: int = 0
    again: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)
    cache_key: str = ""
    remote_id: str = ""


class JobQueue:
    """A queue of DFT jobs, safe for use by several threads and processes.

    Parameters
    ----------
    path
        The file, created if missing; None keeps the queue in memory.

    Raises
    ------
    QueueError
        If the file cannot be opened or written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        with _sentences(path):
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                if path is None or isinstance(error, sqlite3.OperationalError):
                    raise
                _put_aside(path, error)
                self._connection = self._open()

    @classmethod
    def copy_of(cls, path: Path) -> JobQueue:
        """A copy in memory of a queue whose folder cannot be written; an empty one where there is no file.

        Raises
        ------
        QueueError
            If the file cannot be read.
        """
        queue = cls()
        if path.exists():
            with _sentences(path), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source:
                source.backup(queue._connection)
        return queue

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path or ":memory:", timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _check(connection)
            connection.execute(_SCHEMA)
            _migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Apply all changes of the block or none."""
        with self._lock, _sentences(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def add(self, jobs: Iterable[QueuedJob]) -> int:
        """Append jobs, ignoring materials already in the queue. Return how many are new."""
        rows = [(job.material_id, str(job.state), job.reason, job.estimated_cpu_seconds) for job in jobs]
        with self._transaction() as connection:
            before = connection.total_changes
            connection.executemany(
                "INSERT OR IGNORE INTO jobs (material_id, state, reason, estimated_cpu_seconds) VALUES (?, ?, ?, ?)",
                rows,
            )
            return connection.total_changes - before

    def jobs(self, *states: JobStatus) -> list[QueuedJob]:
        """Jobs in these states, or all, in order."""
        wanted = json.dumps([str(state) for state in states or JobStatus])
        with self._lock, _sentences(self.path):
            rows = self._connection.execute(_SELECT, (wanted,)).fetchall()
        return [_job(row) for row in rows]

    def take(self, material_id: str, cache_key: str) -> bool:
        """Mark a queued job as running; False if it is no longer queued."""
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE jobs SET state = ?, reason = '', cache_key = ? WHERE material_id = ? AND state = ?",
                (str(JobStatus.RUNNING), cache_key, material_id, str(JobStatus.QUEUED)),
            )
            return changed.rowcount == 1

    def put_back(self, material_id: str, was: JobStatus, reason: str = "") -> bool:
        """Queue a job again if it is still in the state `was`; this does not count as an attempt."""
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE jobs SET state = ?, reason = ?, remote_id = '' WHERE material_id = ? AND state = ?",
                (str(JobStatus.QUEUED), reason, material_id, str(was)),
            )
            return changed.rowcount == 1

    def end(self, material_id: str, state: JobStatus, reason: str, cpu_seconds: float = 0.0) -> None:
        """Record the outcome of a job."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, reason = ?, cpu_seconds = ?, attempts = attempts + 1, again = 0 "
                "WHERE material_id = ?",
                (str(state), reason, cpu_seconds, material_id),
            )

    def mark_submitted(self, material_id: str, remote_id: str, cache_key: str) -> None:
        """Record that a job was submitted to another machine."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, reason = '', remote_id = ?, cache_key = ? WHERE material_id = ?",
                (str(JobStatus.SUBMITTED), remote_id, cache_key, material_id),
            )

    def note(self, material_id: str, reason: str) -> None:
        """Record what another machine says of a job that it has."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET reason = ? WHERE material_id = ? AND state = ?",
                (reason, material_id, str(JobStatus.SUBMITTED)),
            )

    def retry(self, states: Sequence[JobStatus], overrides: dict[str, Any] | None = None) -> int:
        """Queue all jobs in these states again, with other settings if given; return how many."""
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE jobs SET state = ?, reason = '', again = 1, remote_id = '', overrides = ? "
                "WHERE state IN (SELECT value FROM json_each(?))",
                (
                    str(JobStatus.QUEUED),
                    json.dumps(overrides or {}, sort_keys=True),
                    json.dumps([str(state) for state in states]),
                ),
            )
            return changed.rowcount

    def queue_untried(self, state: JobStatus) -> int:
        """Queue the jobs in this state that never ran anywhere; return how many."""
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE jobs SET state = ?, reason = '' WHERE state = ? AND attempts = 0",
                (str(JobStatus.QUEUED), str(state)),
            )
            return changed.rowcount

    def counts(self) -> dict[JobStatus, int]:
        """Number of jobs in each state that occurs, in the order of the states."""
        with self._lock, _sentences(self.path):
            found = dict(self._connection.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall())
        return {state: found[str(state)] for state in JobStatus if str(state) in found}


def _check(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the file of an earlier version up to this one, in one transaction.

    Raises
    ------
    QueueError
        If a later version wrote the file.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise QueueError(
            f"The queue was written by a later version of this package (format {version}, this one reads {VERSION}); "
            "update the package."
        )
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        there = {name for _, name, *_ in connection.execute("PRAGMA table_info(jobs)")}
        for name, kind in _ADDED_COLUMNS.items():
            if name not in there:
                connection.execute(f"ALTER TABLE jobs ADD COLUMN {name} {kind}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _job(row: Sequence[Any]) -> QueuedJob:
    material_id, state, reason, estimate, spent, attempts, again, overrides, key, remote_id = row
    return QueuedJob(
        material_id=material_id,
        state=JobStatus(state),
        reason=reason,
        estimated_cpu_seconds=estimate,
        cpu_seconds=spent,
        attempts=attempts,
        again=bool(again),
        overrides=json.loads(overrides),
        cache_key=key,
        remote_id=remote_id,
    )


def _put_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    """Move a file that is not a queue aside; finished results are in the cache."""
    aside = path.with_suffix(".corrupt")
    logger.warning("The queue %s is damaged (%s); it is kept as %s and rebuilt.", path, error, aside.name)
    path.replace(aside)
    # The journal of the damaged file must not be applied to the new one.
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)


@contextmanager
def _sentences(path: Path | None) -> Iterator[None]:
    """Turn errors of SQLite into sentences."""
    try:
        yield
    except sqlite3.Error as error:
        if "full" in str(error):
            raise QueueFullError(
                f"The disk is full: cannot record the outcome of a job in {path}. Free some space and run the same "
                "command again; what is finished is kept."
            ) from error
        # A file system without locks makes SQLite say the same as when another process holds the file.
        if path is not None and lacks_locks(path.parent):
            raise QueueError(say_no_locks(path.parent)) from error
        if "locked" in str(error):
            raise QueueError(
                f"Another process has held the queue {path} for more than {_BUSY_SECONDS:g} s; stop it and run again."
            ) from error
        raise QueueError(f"The queue {path} cannot be used ({error}); check the folder and its permissions.") from error
