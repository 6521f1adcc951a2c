"""The run folder: settings, versions, timings and tables of one screen, safe against interruption.

`results/<run_id>/` holds `run.json` and Parquet tables. Each file is either complete or not
there, so a run that was stopped goes on where it was: opening a run with the same fingerprint
takes up the unfinished folder. `results/latest` names the last finished run.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY, SpectralGrid
from mat2spec.tables.files import TableError, make_folder, remove_unfinished_files
from mat2spec.tables.parquet import concatenate_tables, read_table, to_arrow, to_frame, write_table
from mat2spec.tables.provenance import git_commit, hash_json, package_versions, utc_now
from screening.runs.record import (
    FINISHED,
    LOCK_FILE,
    RUN_FILE,
    RUNNING,
    UPDATE_LOCK_FILE,
    RunError,
    RunLockedError,
    find_unfinished,
    latest_run,
    list_runs,
    new_run_id,
    point_latest,
    read_record,
    run_fingerprint,
    short_lock,
    take_lock,
    write_record,
)
from screening.runs.schemas import TableName, conform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    import pandas as pd
    import pyarrow as pa
    from filelock import FileLock

__all__ = ["RunError", "RunFolder", "RunLockedError", "latest_run", "list_runs"]

logger = logging.getLogger(__name__)

SHARDS_FOLDER = "shards"


class RunFolder:
    """One run's folder. Make it with `RunFolder.open` or `RunFolder.attach`.

    Parameters
    ----------
    path
        The folder; it holds a `run.json`.
    lock
        The lock that this process holds on the run, None if it only attaches to it.
    """

    def __init__(self, path: Path, lock: FileLock | None = None) -> None:
        self.path = path
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
    ) -> Self:
        """Create a run folder, or take up the unfinished one of the same fingerprint.

        Parameters
        ----------
        results_dir
            Folder of all runs; made if it is missing.
        settings
            All settings of the run, as JSON can hold them.
        weights_hashes
            Hash of the weights of each model.
        source_fingerprint, db_version
            Identity of the crystals: `CrystalSource.fingerprint` and `CrystalSource.db_version`.
        grid
            The grid of the spectra in the tables.

        Raises
        ------
        RunLockedError
            If another process works on this run.
        TableError
            If the folder cannot be written.
        """
        make_folder(results_dir)
        weights = dict(weights_hashes or {})
        fingerprint = run_fingerprint(settings, weights, source_fingerprint)
        with short_lock(results_dir / LOCK_FILE):
            resumable = find_unfinished(results_dir, fingerprint)
            if resumable is not None:
                return cls._resume(resumable)
            identity = {
                "settings": dict(settings),
                "weights_hashes": weights,
                "source_fingerprint": source_fingerprint,
                "db_version": db_version,
            }
            return cls._create(
                make_folder(results_dir / new_run_id(results_dir, fingerprint)), fingerprint, identity, grid
            )

    @classmethod
    def _create(cls, path: Path, fingerprint: str, identity: dict[str, Any], grid: SpectralGrid) -> Self:
        run = cls(path, take_lock(path))
        try:
            write_record(path / RUN_FILE, _first_record(path.name, fingerprint, identity, grid))
        except BaseException:
            run.close()
            shutil.rmtree(path, ignore_errors=True)
            raise
        return run

    @classmethod
    def _resume(cls, path: Path) -> Self:
        run = cls(path, take_lock(path))
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
            If the folder is no run folder.
        """
        real = path.resolve()
        if not (real / RUN_FILE).exists():
            raise RunError(f"{path} is no run folder: it has no {RUN_FILE}. Name a folder below results/.")
        return cls(real)

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """Take up an existing run, finished or not, to add what it left to do; raises as `open` and `attach`."""
        return cls._resume(cls.attach(path).path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Note how the run ended if it did not finish, and let go of the lock."""
        if error is not None and self._lock is not None:
            interrupted = isinstance(error, KeyboardInterrupt)
            self._stop_quietly("interrupted" if interrupted else "failed", str(error) or type(error).__name__)
        self.close()

    @property
    def run_id(self) -> str:
        """Time of creation and start of the fingerprint; the name of the folder."""
        return self.path.name

    @property
    def info(self) -> dict[str, Any]:
        """What `run.json` holds now.

        Raises
        ------
        RunError
            If it cannot be read.
        """
        return read_record(self.path / RUN_FILE)

    @property
    def is_finished(self) -> bool:
        """Whether the run is finished; a finished run is not changed any more."""
        return self.info["status"] == FINISHED

    def table_path(self, name: TableName | str) -> Path:
        """Where a table lies or will lie."""
        return self.path / f"{TableName(name)}.parquet"

    def has_table(self, name: TableName | str) -> bool:
        """Whether a table is there; it is complete then."""
        return self.table_path(name).exists()

    def write_table(
        self, name: TableName | str, table: pd.DataFrame | pa.Table, metadata: Mapping[str, str] | None = None
    ) -> Path:
        """Check a table against its schema and write it atomically, with the provenance of the run.

        Raises
        ------
        SchemaError
            If columns are missing or of the wrong type.
        RunError
            If the run is finished.
        TableError
            If it cannot be written.
        """
        info = self._writable_info()
        path = self.table_path(name)
        arrow = conform(to_arrow(table), TableName(name), SpectralGrid.from_json(info[GRID_METADATA_KEY]))
        write_table(path, arrow, _table_metadata(info) | dict(metadata or {}))
        return path

    def read_arrow(self, name: TableName | str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a table, or some of its columns, as an Arrow table.

        Raises
        ------
        TableError
            If it is not there or damaged.
        """
        return read_table(self.table_path(name), columns)

    def read_table(self, name: TableName | str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read a table, or some of its columns, as a DataFrame.

        Raises
        ------
        TableError
            If it is not there or damaged.
        """
        return to_frame(self.read_arrow(name, columns))

    def remove_table(self, name: TableName | str) -> None:
        """Remove a table that is to be made again, if it is there; raises as `write_table`."""
        self._writable_info()
        self.table_path(name).unlink(missing_ok=True)

    def shard_path(self, name: TableName | str, index: int) -> Path:
        """Where a part of a table lies until the parts are merged."""
        return self.path / SHARDS_FOLDER / TableName(name) / f"{index:06d}.parquet"

    def has_shard(self, name: TableName | str, index: int) -> bool:
        """Whether a part of a table is there; it is complete then."""
        return self.shard_path(name, index).exists()

    def write_shard(self, name: TableName | str, index: int, table: pd.DataFrame | pa.Table) -> Path:
        """Check a part of a table against the schema and write it atomically.

        Raises
        ------
        SchemaError, RunError, TableError
            As `write_table`.
        """
        info = self._writable_info()
        path = self.shard_path(name, index)
        make_folder(path.parent)
        arrow = conform(to_arrow(table), TableName(name), SpectralGrid.from_json(info[GRID_METADATA_KEY]))
        write_table(path, arrow)
        return path

    def read_shard(self, name: TableName | str, index: int) -> pa.Table:
        """Read a part of a table.

        Raises
        ------
        TableError
            If it is not there or damaged.
        """
        return read_table(self.shard_path(name, index))

    def merge_shards(self, name: TableName | str, count: int, metadata: Mapping[str, str] | None = None) -> Path:
        """Join the parts 0 to count - 1 into the table, one part in memory at a time, and remove them.

        Raises
        ------
        RunError
            If parts are missing or the run is finished.
        TableError
            If a part is damaged or the table cannot be written.
        """
        info = self._writable_info()
        path = self.table_path(name)
        missing = [index for index in range(count) if not self.has_shard(name, index)]
        if missing:
            raise RunError(
                f"{len(missing)} of {count} parts of the table '{TableName(name)}' are not there, the first is part "
                f"{missing[0]}; run the stage again, it computes only what is missing."
            )
        concatenate_tables(
            path, [self.shard_path(name, index) for index in range(count)], _table_metadata(info) | dict(metadata or {})
        )
        self._remove_shards(name)
        return path

    def record(self, stage: str, seconds: float, counts: Mapping[str, object] | None = None) -> None:
        """Note in `run.json` how long a stage took and what it counted."""
        entry = {"seconds": round(seconds, 3), "counts": dict(counts or {}), "recorded": utc_now()}

        def add(info: dict[str, Any]) -> None:
            info["stages"][stage] = entry

        self._update(add)

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, object]]:
        """Time a stage; counts put into the yielded dictionary are recorded with it if nothing is raised."""
        counts: dict[str, object] = {}
        start = time.perf_counter()
        yield counts
        self.record(name, time.perf_counter() - start, counts)

    def finish(self) -> None:
        """Mark the run as finished, let `results/latest` point to it and let go of the lock."""

        def mark(info: dict[str, Any]) -> None:
            info |= {"status": FINISHED, "reason": "", "finished": utc_now()}

        self._update(mark)
        point_latest(self.path)
        self.close()

    def stop(self, status: Literal["interrupted", "failed"], reason: str) -> None:
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
        shutil.rmtree(self.path)
        self.close()

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _stop_quietly(self, status: Literal["interrupted", "failed"], reason: str) -> None:
        """Note why a run stopped, unless noting itself fails: the error under way matters more."""
        try:
            self.stop(status, reason)
        except (RunError, TableError) as error:
            logger.warning("Could not note in %s that the run stopped: %s", self.path / RUN_FILE, error)

    def _take_up(self) -> None:
        """Go on with an unfinished run: remove what a killed process left, and count the resumption."""
        for folder in [self.path, *self.path.glob(f"{SHARDS_FOLDER}/*")]:
            remove_unfinished_files(folder)
        for name in TableName:
            if self.has_table(name):
                self._remove_shards(name)

        def mark(info: dict[str, Any]) -> None:
            info |= {"status": RUNNING, "reason": "", "resumed": info.get("resumed", 0) + 1}
            info |= {"versions": package_versions(), "git_commit": git_commit()}

        self._update(mark)

    def _remove_shards(self, name: TableName | str) -> None:
        shards = self.path / SHARDS_FOLDER
        if (shards / TableName(name)).exists():
            shutil.rmtree(shards / TableName(name))
        if shards.exists() and not any(shards.iterdir()):
            shards.rmdir()

    def _writable_info(self) -> dict[str, Any]:
        info = self.info
        if info["status"] == FINISHED:
            raise RunError(f"The run {self.run_id} is finished and is not changed any more; start a new run.")
        return info

    def _update(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change `run.json` atomically, also when several threads or processes of the run do so."""
        with short_lock(self.path / UPDATE_LOCK_FILE):
            info = self.info
            change(info)
            info["updated"] = utc_now()
            write_record(self.path / RUN_FILE, info)


def _first_record(run_id: str, fingerprint: str, identity: dict[str, Any], grid: SpectralGrid) -> dict[str, Any]:
    now = utc_now()
    return {
        "run_id": run_id,
        "status": RUNNING,
        "reason": "",
        "created": now,
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


def _table_metadata(info: Mapping[str, Any]) -> dict[str, str]:
    """Provenance that every table carries."""
    keys = ("run_id", "settings_hash", "source_fingerprint", "db_version", GRID_METADATA_KEY)
    return {key: str(info[key]) for key in keys} | {
        "versions": json.dumps(info["versions"], sort_keys=True),
        "weights_hashes": json.dumps(info["weights_hashes"], sort_keys=True),
        "git_commit": info["git_commit"] or "",
    }
