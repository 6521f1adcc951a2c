"""Finished results on disk, one file per crystal, settings and engine version: nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import Timeout

from dft_validation.results.document import EdosDocument
from dft_validation.results.outcomes import FailedJob
from dft_validation.settings import DftSettings
from mat2spec.crystals.cell import Cell
from mat2spec.crystals.identity import structure_hash
from mat2spec.tables.files import atomic_file, parse_json, refuse_special
from mat2spec.tables.locks import take_lock

logger = logging.getLogger(__name__)


Outcome = EdosDocument | FailedJob


def outcome_of_dict(values: dict[str, Any]) -> Outcome:
    """The document or failure from its `as_dict`."""
    plain = {name: value for name, value in values.items() if not name.startswith("@")}
    return FailedJob.from_dict(plain) if "reason" in plain else EdosDocument.from_dict(plain)


class DocumentCache:
    """A folder of outcomes.

    Parameters
    ----------
    folder
        Folder of the files, created when the first is stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def key(self, cell: Cell, settings: DftSettings, engine_version: str) -> str:
        """Key of the outcome of one crystal, settings and engine version."""
        text = f"{structure_hash(cell)}|{settings.settings_hash}|{settings.engine}|{engine_version}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def load(self, key: str) -> Outcome | None:
        """The stored outcome, or None; an unreadable file is moved aside and ignored."""
        path = self._file(key)
        try:
            refuse_special(path)
            values = parse_json(path.read_text())
            return outcome_of_dict(values)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            logger.warning("The stored DFT result %s cannot be read (%s); it will be computed again.", path, error)
            path.replace(path.with_suffix(".corrupt"))
            return None

    def load_valid(self, key: str, settings: DftSettings) -> Outcome | None:
        """The stored outcome if it is still valid: a document always, a failure only under the same limits."""
        outcome = self.load(key)
        if isinstance(outcome, FailedJob):
            holds = outcome.holds_under(settings.time_limit_s, settings.memory_limit_mib)
            return outcome if holds and not settings.retry_failed else None
        return outcome

    def store(self, key: str, outcome: Outcome) -> None:
        """Store an outcome atomically.

        Raises
        ------
        mat2spec.tables.files.TableError
            If it cannot be written, e.g. on a full disk.
        """
        path = self._file(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write(json.dumps(outcome.as_dict()).encode())

    def remove_unfinished(self, key: str) -> None:
        """Remove leftovers of a process that was killed while storing an outcome; requires the lock."""
        for leftover in self._file(key).parent.glob(f".{key}.json.*.partial"):
            leftover.unlink(missing_ok=True)

    def documents(self) -> Iterator[EdosDocument]:
        """All finished documents, in the order of their keys."""
        for path in sorted(self.folder.glob("??/*.json")):
            outcome = self.load(path.stem)
            if isinstance(outcome, EdosDocument):
                yield outcome

    @contextmanager
    def try_lock(self, key: str) -> Iterator[bool]:
        """Hold the exclusive right, among threads and processes on the same folder, to compute one key.

        The system frees the lock when its holder dies. Yields whether the right was obtained.
        """
        try:
            lock = take_lock(self._file(key).with_suffix(".lock"))
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()
