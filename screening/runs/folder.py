"""The run folder: settings, versions, timings and tables of one screen, safe against interruption.

`results/<run_id>/` holds `run.json` and Parquet tables, including the coordinates of the candidates: nothing else is
needed to finish the run, on this or another machine. Each file is either complete or absent, and `run.json` records
what is done, so a stopped run can resume at any point: opening a run with the same fingerprint resumes the unfinished
folder. `results/latest` points to the last finished run.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from filelock import FileLock

from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY, SpectralGrid
from mat2spec.tables.files import TableError, make_folder, remove_unfinished_files, undisturbed
from mat2spec.tables.provenance import git_commit, hash_json, package_versions, utc_now
from screening.runs.contents import SHARDS_FOLDER, RunTables
from screening.runs.record import (
    DISCARDED_PREFIX,
    LOCK_FILE,
    NEW_PREFIX,
    OPEN_MARK,
    RUN_FILE,
    UPDATE_LOCK_FILE,
    RunError,
    RunStatus,
    find_resumable,
    new_run_id,
    point_latest,
    remove_leftovers,
    run_fingerprint,
    short_lock,
    take_lock,
    write_record,
)
from screening.runs.schemas import TableName

logger = logging.getLogger(__name__)


class RunFolder(RunTables):
    """One run's folder: its tables, and how it begins, stops, resumes and ends.

    Created by `RunFolder.open`, `RunFolder.reopen` or `RunFolder.attach`.

    Parameters
    ----------
    path
        The folder, with a `run.json`.
    lock
        The lock that this process holds on the run, None if it only attaches to it.
    """

    def __init__(self, path: Path, lock: FileLock | None = None) -> None:
        super().__init__(path)
        self._lock = lock

    @classmethod
    def open(
        cls,
        results_dir: Path,
        settings: Mapping[str, object],
        weights_hashes: Mapping[str, str] | None = None,
        source_fingerprint: str = "",
        db_version: str = "",
        grid: SpectralGrid = EDOS_GRID,
        deciding: Mapping[str, object] | None = None,
    ) -> Self:
        """Create a run folder, or resume the unfinished one with the same fingerprint.

        Parameters
        ----------
        results_dir
            Folder of all runs; created if missing.
        settings
            All settings of the run, as JSON can hold them.
        weights_hashes
            Hash of the weights of each model.
        source_fingerprint, db_version
            Identity of the crystals: `CrystalSource.fingerprint` and `CrystalSource.db_version`.
        grid
            The grid of the spectra in the tables.
        deciding
            The settings that decide what the run computes; all by default. Others, such as the number of cores, may differ
            when it resumes.

        Raises
        ------
        RunLockedError
            If another process works on this run.
        TableError
            If the folder cannot be written.
        """
        make_folder(results_dir)
        weights = dict(weights_hashes or {})
        fingerprint = run_fingerprint(settings if deciding is None else deciding, weights, source_fingerprint)
        with short_lock(results_dir / LOCK_FILE):
            remove_leftovers(results_dir)
            resumable = find_resumable(results_dir, fingerprint)
            if resumable is not None:
                return cls._resume(resumable)
            identity = {
                "settings": dict(settings),
                "weights_hashes": weights,
                "source_fingerprint": source_fingerprint,
                "db_version": db_version,
            }
            return cls._create(results_dir, fingerprint, identity, grid)

    @classmethod
    def _create(cls, results_dir: Path, fingerprint: str, identity: dict[str, Any], grid: SpectralGrid) -> Self:
        """Create a folder atomically together with its record."""
        run_id = new_run_id(results_dir, fingerprint)
        prepared = make_folder(results_dir / f"{NEW_PREFIX}{run_id}")
        try:
            write_record(prepared / RUN_FILE, _first_record(run_id, fingerprint, identity, grid))
            path = prepared.rename(results_dir / run_id)
        except BaseException:
            shutil.rmtree(prepared, ignore_errors=True)
            raise
        return cls(path, _hold(path))

    @classmethod
    def _resume(cls, path: Path) -> Self:
        run = cls(path, _hold(path))
        try:
            run._take_up()
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def attach(cls, path: Path) -> Self:
        """Use an existing run folder without taking its lock: to read results, or as a part of the run itself.

        Raises
        ------
        RunError
            If the folder is not a run folder.
        """
        real = path.resolve()
        if not (real / RUN_FILE).exists():
            raise RunError(f"{path} is not a run folder: it has no {RUN_FILE}. Give a folder inside results/.")
        return cls(real)

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """Open an existing run, finished or not, to complete it; raises as `open` and `attach`."""
        real = cls.attach(path).path
        with short_lock(real.parent / LOCK_FILE):
            remove_leftovers(real.parent)
        return cls._resume(real)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Record how the run ended if it did not finish, and release the lock."""
        if error is not None and self._lock is not None:
            # Ctrl-C, or a signal that whoever runs this has turned into an exception of its own.
            interrupted = not isinstance(error, Exception)
            status: Literal[RunStatus.INTERRUPTED, RunStatus.FAILED] = (
                RunStatus.INTERRUPTED if interrupted else RunStatus.FAILED
            )
            # A second Ctrl-C waits until the first is recorded.
            with undisturbed():
                self._stop_quietly(status, str(error) or type(error).__name__)
                self.close()
        self.close()

    @property
    def is_finished(self) -> bool:
        """Whether the run is finished and can no longer be changed."""
        return self.info["status"] == RunStatus.FINISHED

    def record(self, stage: str, seconds: float, counts: Mapping[str, int] | None = None, ends_run: str = "") -> None:
        """Record in `run.json` that a stage is done, its time and counts, and why the run ends with it."""
        entry = {"seconds": round(seconds, 3), "counts": dict(counts or {}), "recorded": utc_now()}
        if ends_run:
            entry["ends_run"] = ends_run

        def add(info: dict[str, Any]) -> None:
            info["stages"][stage] = entry

        self._update(add)

    def link(self, name: str, values: Mapping[str, str]) -> None:
        """Record in `run.json` where else this run can be seen, e.g. in the UI of a workflow manager."""

        def add(info: dict[str, Any]) -> None:
            info.setdefault("links", {})[name] = dict(values)

        self._update(add)

    def redo(self, stages: Iterable[str]) -> None:
        """Record in `run.json` that stages must be repeated; their tables stay until new ones replace them."""
        names = set(stages)

        def remove(info: dict[str, Any]) -> None:
            info["stages"] = {name: entry for name, entry in info["stages"].items() if name not in names}
            info["redone"] = info.get("redone", 0) + 1

        self._update(remove)

    def finish(self) -> None:
        """Mark the run as finished, point `results/latest` to it and release the lock."""

        def mark(info: dict[str, Any]) -> None:
            info |= {"status": RunStatus.FINISHED, "reason": "", "finished": utc_now()}

        self._update(mark)
        point_latest(self.path)
        self.close()

    def stop(self, status: Literal[RunStatus.INTERRUPTED, RunStatus.FAILED], reason: str) -> None:
        """Mark the run as interrupted or failed; it stays resumable.

        Raises
        ------
        RunError
            If the run is finished.
        TableError
            If `run.json` cannot be written.
        """
        self._writable_info()

        def mark(info: dict[str, Any]) -> None:
            info |= {"status": status, "reason": reason}

        self._update(mark)

    def discard(self) -> None:
        """Remove the folder of an unfinished run that turned out to have nothing to do.

        Raises
        ------
        RunError
            If the run is finished.
        """
        self._writable_info()
        # Renamed first: if killed, it leaves the whole folder, or a leftover that the next run removes.
        removed = self.path.rename(self.path.with_name(f"{DISCARDED_PREFIX}{self.path.name}"))
        shutil.rmtree(removed)
        self.close()

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            (self.path / OPEN_MARK).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def _stop_quietly(self, status: Literal[RunStatus.INTERRUPTED, RunStatus.FAILED], reason: str) -> None:
        """Record why a run stopped, unless recording itself fails: the original error matters more."""
        try:
            self.stop(status, reason)
        except (RunError, TableError) as error:
            logger.warning("Could not record in %s that the run stopped: %s", self.path / RUN_FILE, error)

    def _take_up(self) -> None:
        """Resume a run: remove the leftovers of a killed process, and count the resumption."""
        for folder in [self.path, *self.path.glob(f"{SHARDS_FOLDER}/*")]:
            remove_unfinished_files(folder)
        for name in TableName:
            if self.has_table(name):
                self.remove_shards(name)

        def mark(info: dict[str, Any]) -> None:
            info |= {"status": RunStatus.RUNNING, "reason": "", "resumed": info.get("resumed", 0) + 1}
            info |= {"versions": package_versions(), "git_commit": git_commit()}

        self._update(mark)

    def _update(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change `run.json` atomically, even if several threads or processes of the run do so."""
        with short_lock(self.path / UPDATE_LOCK_FILE):
            info = self.info
            change(info)
            info["updated"] = utc_now()
            write_record(self.path / RUN_FILE, info)


def _hold(path: Path) -> FileLock:
    """Lock a run for this process and mark it as open; the mark stays if the process is killed."""
    lock = take_lock(path)
    # Not touch, which would create or change the target of a link of this name.
    with suppress(FileExistsError):
        os.close(os.open(path / OPEN_MARK, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return lock


def _first_record(run_id: str, fingerprint: str, identity: dict[str, Any], grid: SpectralGrid) -> dict[str, Any]:
    now = utc_now()
    return {
        "run_id": run_id,
        "status": RunStatus.RUNNING,
        "reason": "",
        # Finer than a second, so that runs made within one keep their order.
        "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        "updated": now,
        "finished": None,
        "resumed": 0,
        "fingerprint": fingerprint,
        "settings_hash": hash_json(identity["settings"]),
        **identity,
        GRID_METADATA_KEY: grid.to_json(),
        "versions": package_versions(),
        "git_commit": git_commit(),
        "stages": {},
    }
