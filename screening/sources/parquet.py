"""A Parquet table of crystals as a source, such as the embedded catalogue.

Properties are read without coordinates, and coordinates only for the crystals asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.columns import identifier_array
from mat2spec.crystals.composition import ElementCounts
from mat2spec.tables.columns import CRYSTAL_COLUMNS, Column
from mat2spec.tables.files import explain_os_error
from mat2spec.tables.parquet import read_metadata, read_rows, read_table, reading_parquet, require_columns
from screening.sources.base import DB_VERSION_KEY, FILTER_COUNTS_KEY, SourceError
from screening.sources.claims import CLAIM_COLUMNS, with_contradictions

BATCH_ROWS = 16384
_NO_ATOMS = pa.array([], pa.list_(pa.int64()))


class ParquetSource:
    """A Parquet table of crystals, read by row groups and columns.

    Parameters
    ----------
    path
        The table.
    name
        Short name for reports; the file name if not given.
    limit
        Maximum number of rows to read, from the start.

    Raises
    ------
    SourceError
        If columns are missing.
    TableError
        If the file is missing or damaged.
    """

    def __init__(self, path: Path, name: str | None = None, limit: int | None = None) -> None:
        self.path = Path(path)
        self.name = name or self.path.stem
        self.limit = limit
        self._columns = require_columns(self.path, [])
        missing = [str(column) for column in CRYSTAL_COLUMNS if column not in self._columns]
        if missing:
            raise SourceError(
                f"{self.path} is not a table of crystals: it lacks the column{'s' if len(missing) > 1 else ''} "
                f"{', '.join(missing)}. It needs {', '.join(CRYSTAL_COLUMNS)}."
            )

    def fingerprint(self) -> str:
        """SHA-256 of the file, and of the limit if there is one."""
        try:
            with self.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise explain_os_error(error, self.path, "read") from error
        if self.limit is not None:
            digest.update(f"limit {self.limit}".encode())
        return digest.hexdigest()

    def db_version(self) -> str:
        """Version given in the table's metadata, else the file name with the start of its hash."""
        return read_metadata(self.path).get(DB_VERSION_KEY) or f"{self.path.stem}-{self.fingerprint()[:12]}"

    def known_edos_ids(self) -> frozenset[str]:
        """Materials whose flag `has_edos` is set; none if the table has no such column.

        Raises
        ------
        SourceError
            If the column holds anything but flags.
        """
        if Column.HAS_EDOS not in self._columns:
            return frozenset()
        flags = self._column(Column.HAS_EDOS)
        if str(flags.type) != "bool":
            raise SourceError(f"The column {Column.HAS_EDOS} of {self.path} holds {flags.type}; write true or false.")
        return frozenset(self._ids.filter(flags.combine_chunks()).to_pylist())

    def earlier_filters(self) -> pd.DataFrame | None:
        """Counts of filters applied before the table was written, if given in its metadata."""
        rows = read_metadata(self.path).get(FILTER_COUNTS_KEY)
        if rows is None:
            return None
        columns = (Column.FILTER, Column.REMOVED, Column.UNKNOWN_REMOVED, Column.UNKNOWN_KEPT, Column.REMAINING)
        return pd.DataFrame(json.loads(rows), columns=[str(column) for column in columns])

    def properties(self) -> pd.DataFrame:
        """All materials without coordinates, see `CrystalSource.properties`.

        Raises
        ------
        SourceError
            If an identifier is missing or not unique.
        TableError
            If the file is damaged.
        """
        return self._properties

    @cached_property
    def _properties(self) -> pd.DataFrame:
        frame = pa.concat_tables([_of_atoms(_NO_ATOMS, []), *self._pieces_of_atoms()]).to_pandas()
        frame.insert(0, str(Column.MATERIAL_ID), self._ids.to_pandas())
        for column in (Column.BAND_GAP, Column.ENERGY_ABOVE_HULL):
            frame[column] = self._numbers(column)
        return frame

    def ids(self) -> frozenset[str]:
        """Identifiers of all materials in the table."""
        return frozenset(self._ids.to_pylist())

    def crystals(self, material_ids: Sequence[str]) -> Crystals:
        """The crystals of the given materials, in that order.

        Only the row groups that hold them are read, one at a time. A row that cannot be read, or whose columns contradict
        its coordinates, has the reason in `Crystals.problems`; other rows are not affected.

        Raises
        ------
        SourceError
            If a material is not in the source.
        TableError
            If the file is damaged.
        """
        wanted = pa.array(material_ids, pa.string())
        rows = pc.index_in(wanted, value_set=self._ids)
        if rows.null_count:
            raise SourceError(
                f"{rows.null_count} of {len(wanted)} materials are not in {self.path}, the first being "
                f"{wanted.filter(pc.is_null(rows))[0]}; the candidates belong to another source."
            )
        columns = [*CRYSTAL_COLUMNS, *(name for name in CLAIM_COLUMNS if name in self._columns)]
        table = read_rows(self.path, columns, rows.to_numpy())
        crystals = Crystals.from_arrow(table.select([str(column) for column in CRYSTAL_COLUMNS]))
        return with_contradictions(crystals, table)

    @cached_property
    def _ids(self) -> pa.Array:
        """Identifiers of all materials."""
        ids = identifier_array(self._column(Column.MATERIAL_ID))
        if ids.null_count:
            raise SourceError(
                f"{ids.null_count} rows of {self.path} have no material_id, the first being row "
                f"{pc.index(pc.is_null(ids), True).as_py()}; every crystal needs one."
            )
        counts = pc.value_counts(ids)
        repeated = counts.filter(pc.greater(counts.field("counts"), 1))
        if len(repeated):
            raise SourceError(
                f"{len(ids) - len(counts)} rows of {self.path} repeat the material_id of another, the first being "
                f"{repeated[0]['values']}; make the identifiers unique."
            )
        return ids

    def _pieces_of_atoms(self) -> Iterator[pa.Table]:
        """What follows from the atoms of the crystals, and their formulas, those of the table where it has them."""
        columns = [Column.ATOMIC_NUMBERS, *([Column.FORMULA] if Column.FORMULA in self._columns else [])]
        for batch in self._batches(columns):
            given = batch.column(1).to_pylist() if len(columns) > 1 else [None] * len(batch)
            yield _of_atoms(batch.column(0), given)

    def _numbers(self, column: Column) -> pd.Series:
        """A column of numbers, NaN where unknown or if the table has no such column."""
        if column not in self._columns:
            return pd.Series(np.full(len(self._ids), np.nan))
        values = self._column(column)
        if pa.types.is_boolean(values.type):
            raise SourceError(f"The column {column} of {self.path} does not hold numbers, but true and false.")
        try:
            numbers = values.cast("float64").to_numpy(zero_copy_only=False)
        except (ValueError, pa.ArrowNotImplementedError) as error:
            raise SourceError(f"The column {column} of {self.path} does not hold numbers: {error}.") from error
        if np.isinf(numbers).any() or (column == Column.BAND_GAP and (numbers < 0).any()):
            raise SourceError(
                f"The column {column} of {self.path} holds infinite or negative numbers; leave unknown ones empty."
            )
        return pd.Series(numbers)

    def _column(self, column: Column) -> pa.ChunkedArray:
        values = read_table(self.path, [column])[column]
        return values if self.limit is None else values.slice(0, self.limit)

    def _batches(self, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
        """Rows of the table in batches, up to the limit."""
        left = len(self._ids)
        with reading_parquet(self.path):
            for batch in pq.ParquetFile(self.path).iter_batches(BATCH_ROWS, columns=[str(name) for name in columns]):
                if left <= 0:
                    return
                yield batch.slice(0, left)
                left -= len(batch)


def _of_atoms(atomic_numbers: pa.Array, formulas: list[object]) -> pa.Table:
    """Formula, chemical system and numbers of sites and elements of crystals; formulas are those given, if text."""
    composition = ElementCounts.from_lists([atomic_numbers])
    known = [formula if isinstance(formula, str) else "" for formula in formulas]
    empty = [row for row, formula in enumerate(known) if not formula]
    for row, formula in zip(empty, composition.reduced_formulas(empty), strict=True):
        known[row] = formula
    return pa.table(
        {
            Column.FORMULA: pa.array(known, pa.string()),
            Column.CHEMSYS: pa.array(composition.chemical_systems(), pa.string()),
            Column.NSITES: composition.n_sites,
            Column.NELEMENTS: composition.n_elements,
        }
    )
