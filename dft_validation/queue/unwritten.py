"""Writing the outcomes of jobs, even if the disk is temporarily full: nothing finished is lost silently."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from dft_validation.queue.store import JobQueue, QueuedJob
from dft_validation.results.cache import DocumentCache, Outcome
from dft_validation.results.document import EdosDocument
from dft_validation.results.outcomes import PASSING_STATES, JobStatus

logger = logging.getLogger(__name__)

# After the last job, failed writes are retried this many times, with this pause.
_LAST_TRIES = 5
_PAUSE_SECONDS = 1.0


@dataclass
class _Item:
    """An outcome that still has to be written: its file, its row in the queue, or both."""

    job: QueuedJob
    key: str
    outcome: Outcome
    is_kept: bool
    noted: tuple[JobStatus, str] | None = None

    @property
    def state(self) -> tuple[JobStatus, str]:
        """State and reason for the row of the queue."""
        if not self.is_kept:
            return JobStatus.DISK_FULL, "It was computed, but the result could not be written to disk; free some space."
        if isinstance(self.outcome, EdosDocument):
            return JobStatus.OK, ""
        return self.outcome.status, self.outcome.reason


class Unwritten:
    """Writes outcomes; keeps those that cannot be written in memory and retries.

    Parameters
    ----------
    queue, cache
        Where the state and the result of a job go.
    """

    def __init__(self, queue: JobQueue, cache: DocumentCache) -> None:
        self._queue = queue
        self._cache = cache
        self._lock = threading.Lock()
        self._items: list[_Item] = []

    def write(self, job: QueuedJob, key: str, outcome: Outcome) -> None:
        """Store an outcome, record it in the queue, and retry what could not be written before."""
        with self._lock:
            self._items.append(_Item(job, key, outcome, is_kept=_says_nothing(outcome)))
            self._write_all()

    def write_at_last(self) -> None:
        """Retry everything left a few times; what remains unwritten is reported in the log and the queue."""
        with self._lock:
            for attempt in range(_LAST_TRIES):
                if not self._items:
                    return
                if attempt:
                    time.sleep(_PAUSE_SECONDS)
                self._write_all()
            for item in self._items:
                logger.error(
                    "The outcome of %s could not be written; it is in the tables of this run if those can be written, "
                    "otherwise it will be computed again. Free some space.",
                    item.job.material_id,
                )

    def _write_all(self) -> None:
        self._items = [item for item in self._items if not self._is_written(item)]

    def _is_written(self, item: _Item) -> bool:
        """Write what is left of one outcome; False if some of it still cannot be written."""
        try:
            if not item.is_kept:
                self._cache.store(item.key, item.outcome)
                item.is_kept = True
        except OSError as error:
            if item.noted is None:
                logger.warning(
                    "The result of %s stays in memory and will be written later: %s", item.job.material_id, error
                )
        return self._is_noted(item) and item.is_kept

    def _is_noted(self, item: _Item) -> bool:
        if item.noted != item.state:
            try:
                self._queue.end(item.job.material_id, *item.state, item.outcome.cpu_seconds)
            except OSError as error:
                logger.warning("The state of %s could not be recorded: %s", item.job.material_id, error)
                return False
            item.noted = item.state
        return True


def _says_nothing(outcome: Outcome) -> bool:
    """Whether an outcome need not be kept because the next run would retry the crystal anyway."""
    return not isinstance(outcome, EdosDocument) and outcome.status in PASSING_STATES
