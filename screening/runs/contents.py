"""Contents of a run folder: Parquet tables with the provenance of the run, their shards, and the crystals.

tables = RunTables(Path("results/20261123T020654Z-1a2b3c4d"))
picks = tables.read_table(TableName.DFT_JOBS)
crystals = tables.crystals(picks["material_id"])
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive import CellSizes
from mat2spec.spectra.grids import GRID_METADATA_KEY, SpectralGrid
from mat2spec.tables.columns import CRYSTAL_COLUMNS, Column
from mat2spec.tables.files import atomic_file, make_folder
from mat2spec.tables.parquet import (
    concatenate_tables,
    count_rows,
    pandas_metadata,
    read_batches,
    read_rows,
    read_schema,
    read_table,
    to_arrow,
    to_frame,
    write_table,
)
from screening.runs.record import RUN_FILE, RunError, RunStatus, read_record
from screening.runs.schemas import TableName, conform, empty_table

SHARDS_FOLDER = "shards"
# A table, or pieces of one that are in memory one after another.
Rows: TypeAlias = pd.DataFrame | pa.Table | Iterable[pd.DataFrame | pa.Table]


class RunTables:
    """The tables of a run, by name.

    Parameters
    ----------
    path
        The run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def run_id(self) -> str:
        """Name of the folder: time of creation and start of the fingerprint, unless it was renamed."""
        return self.path.name

    @property
    def info(self) -> dict[str, Any]:
        """The present content of `run.json`.

        Raises
        ------
        RunError
            If it cannot be read.
        """
        return read_record(self.path / RUN_FILE)

    def table_path(self, name: TableName | str) -> Path:
        """Path of a table, whether it exists or not."""
        return self.path / f"{TableName(name)}.parquet"

    def has_table(self, name: TableName | str) -> bool:
        """Whether a table exists; if so, it is complete."""
        return self.table_path(name).exists()

    def column_names(self, name: TableName | str) -> list[str]:
        """Columns that a table has; older runs lack some.

        Raises
        ------
        TableError
            If it is missing or damaged.
        """
        return list(read_schema(self.table_path(name)).names)

    def read_arrow(self, name: TableName | str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a table, or some of its columns, as an Arrow table.

        Raises
        ------
        TableError
            If it is missing or damaged.
        """
        return read_table(self.table_path(name), columns)

    def read_table(self, name: TableName | str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read a table, or some of its columns, as a DataFrame.

        Raises
        ------
        TableError
            If it is missing or damaged.
        """
        return to_frame(self.read_arrow(name, columns))

    def batches(self, name: TableName | str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """A table, or some of its columns, piece by piece, in order; raises as `read_arrow`."""
        return read_batches(self.table_path(name), columns)

    def rows(self, name: TableName | str, rows: NDArray[np.integer], columns: Sequence[str] | None = None) -> pa.Table:
        """Some rows of a table, in the given order; row groups that hold none of them stay unread. Raises as `read_arrow`."""
        return read_rows(self.table_path(name), columns or self.column_names(name), rows)

    def count_rows(self, name: TableName | str) -> int:
        """Rows of a table, without reading them; raises as `read_arrow`."""
        return count_rows(self.table_path(name))

    def crystals(self, material_ids: Sequence[str] | pd.Series) -> Crystals:
        """Candidates of the run with their coordinates, in the given order.

        Raises
        ------
        RunError
            If the run has no coordinates, or a material is not one of its candidates.
        TableError
            If the table of crystals is damaged.
        """
        self._require_crystals()
        wanted = pa.array([str(material_id) for material_id in material_ids], type=pa.string())
        rows = self._rows_of_crystals(wanted)
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            raise RunError(
                f"{len(unknown)} of {len(wanted)} materials are not candidates of the run {self.run_id}; the first "
                f"is {wanted[unknown[0]]}."
            )
        return self.crystals_at(rows)

    def _rows_of_crystals(self, wanted: pa.Array) -> NDArray[np.int64]:
        """Row of each of these materials in the table of crystals, -1 where it is not there."""
        rows, start = np.full(len(wanted), -1), 0
        for piece in self.batches(TableName.CRYSTALS, [Column.MATERIAL_ID]):
            place = pc.index_in(wanted, value_set=piece[Column.MATERIAL_ID].combine_chunks()).fill_null(-1).to_numpy()
            rows = np.where(place < 0, rows, start + place)
            start += len(piece)
        return rows

    def crystals_at(self, rows: NDArray[np.integer]) -> Crystals:
        """Candidates in these rows of the table of crystals, with their coordinates; raises as `crystals`."""
        self._require_crystals()
        present = self.column_names(TableName.CRYSTALS)
        return Crystals.from_arrow(
            self.rows(TableName.CRYSTALS, rows, [name for name in (*CRYSTAL_COLUMNS, Column.REASON) if name in present])
        )

    def sizes_at(self, rows: NDArray[np.integer]) -> CellSizes | None:
        """Sizes of the cells of these candidates; None where an older run does not know them. Raises as `read_arrow`."""
        names = [Column.NSITES, Column.NSITES_PRIMITIVE, Column.VOLUME]
        if not set(names) <= set(self.column_names(TableName.CANDIDATES)):
            return None
        return CellSizes.of_rows(self.rows(TableName.CANDIDATES, rows, names).to_pandas())

    def _require_crystals(self) -> None:
        if not self.has_table(TableName.CRYSTALS):
            raise RunError(
                f"The run {self.run_id} holds no coordinates of its crystals: it was made by version 0.1, or stopped "
                "before its candidates were found. Its tables can be read; run the screen again for anything else."
            )

    def write_table(self, name: TableName | str, table: Rows, metadata: Mapping[str, str] | None = None) -> Path:
        """Check a table, or its pieces one by one, against its schema and write it atomically, with the provenance of the run.

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
        path, more = self.table_path(name), dict(metadata or {})
        if isinstance(table, pd.DataFrame | pa.Table):
            rows = _conform(table, TableName(name), info)
            write_table(path, rows, table_metadata(info) | pandas_metadata(rows.schema) | more)
            return path
        pieces = (_conform(piece, TableName(name), info) for piece in table)
        first = next(pieces, None)
        if first is None:
            return self.write_table(name, empty_table(TableName(name)), metadata)
        concatenate_tables(path, chain([first], pieces), table_metadata(info) | pandas_metadata(first.schema) | more)
        return path

    def write_text(self, name: str, text: str) -> Path:
        """Write a page beside the tables, atomically; raises as `write_table`."""
        self._writable_info()
        with atomic_file(self.path / name) as file:
            file.write(text.encode())
        return self.path / name

    def shard_path(self, name: TableName | str, index: int) -> Path:
        """Path of a part of a table until the parts are merged."""
        return self.path / SHARDS_FOLDER / TableName(name) / f"{index:06d}.parquet"

    def has_shard(self, name: TableName | str, index: int) -> bool:
        """Whether a part of a table exists; if so, it is complete."""
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
        write_table(path, _conform(table, TableName(name), info))
        return path

    def merge_shards(
        self,
        name: TableName | str,
        count: int,
        metadata: Mapping[str, str] | None = None,
        more: Iterable[pa.Table] = (),
    ) -> Path:
        """Join the parts 0 to count - 1, and more rows, into the table, one part in memory at a time; remove the parts.

        Raises
        ------
        RunError
            If parts are missing or the run is finished.
        TableError
            If a part is damaged or the table cannot be written.
        """
        missing = [index for index in range(count) if not self.has_shard(name, index)]
        if missing:
            raise RunError(
                f"{len(missing)} of {count} parts of the table '{TableName(name)}' are missing, the first being part "
                f"{missing[0]}; run the stage again, which computes only what is missing."
            )
        parts = [self.shard_path(name, index) for index in range(count)]
        path = self.write_table(name, chain((read_table(part) for part in parts), more), metadata)
        self.remove_shards(name)
        return path

    def remove_shards(self, name: TableName | str) -> None:
        """Remove the parts of a complete table."""
        shards = self.path / SHARDS_FOLDER
        if (shards / TableName(name)).exists():
            shutil.rmtree(shards / TableName(name))
        if shards.exists() and not any(shards.iterdir()):
            shards.rmdir()

    def _writable_info(self) -> dict[str, Any]:
        info = self.info
        if info["status"] == RunStatus.FINISHED:
            raise RunError(f"The run {self.run_id} is finished and can no longer be changed; start a new run.")
        return info


def _conform(table: pd.DataFrame | pa.Table, name: TableName, info: Mapping[str, Any]) -> pa.Table:
    return conform(to_arrow(table), name, SpectralGrid.from_json(info[GRID_METADATA_KEY]))


def table_metadata(info: Mapping[str, Any]) -> dict[str, str]:
    """Provenance that every table of a run carries."""
    keys = ("run_id", "settings_hash", "source_fingerprint", "db_version", GRID_METADATA_KEY)
    return {key: str(info[key]) for key in keys} | {
        "versions": json.dumps(info["versions"], sort_keys=True),
        "weights_hashes": json.dumps(info["weights_hashes"], sort_keys=True),
        "git_commit": info["git_commit"] or "",
    }
