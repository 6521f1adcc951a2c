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
import pyarrow.parquet as pq

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.columns import identifiers
from mat2spec.crystals.composition import ElementCounts
from mat2spec.tables.columns import CRYSTAL_COLUMNS, Column
from mat2spec.tables.files import explain_os_error
from mat2spec.tables.parquet import read_metadata, read_rows, read_table, reading_parquet, require_columns
from screening.sources.base import DB_VERSION_KEY, FILTER_COUNTS_KEY, SourceError
from screening.sources.claims import CLAIM_COLUMNS, with_contradictions

BATCH_ROWS = 16384


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
        return frozenset(name for name, has in zip(self._rows, flags.to_pylist(), strict=True) if has)

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
        composition = self._composition
        frame = pd.DataFrame(
            {
                Column.MATERIAL_ID: list(self._rows),
                Column.FORMULA: self._formulas(composition),
                Column.CHEMSYS: composition.chemical_systems(),
                Column.NSITES: composition.n_sites,
                Column.NELEMENTS: composition.n_elements,
            }
        )
        for column in (Column.BAND_GAP, Column.ENERGY_ABOVE_HULL):
            frame[column] = self._numbers(column)
        return frame

    def ids(self) -> frozenset[str]:
        """Identifiers of all materials in the table."""
        return frozenset(self._rows)

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
        unknown = [material_id for material_id in material_ids if material_id not in self._rows]
        if unknown:
            raise SourceError(
                f"{len(unknown)} of {len(material_ids)} materials are not in {self.path}, the first being {unknown[0]}; "
                "the candidates belong to another source."
            )
        rows = np.array([self._rows[material_id] for material_id in material_ids], dtype=np.int64)
        columns = [*CRYSTAL_COLUMNS, *(name for name in CLAIM_COLUMNS if name in self._columns)]
        table = read_rows(self.path, columns, rows)
        crystals = Crystals.from_arrow(table.select([str(column) for column in CRYSTAL_COLUMNS]))
        return with_contradictions(crystals, table)

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Row of each material."""
        ids = identifiers(self._column(Column.MATERIAL_ID))
        if None in ids:
            raise SourceError(
                f"{ids.count(None)} rows of {self.path} have no material_id, the first being row {ids.index(None)}; "
                "every crystal needs one."
            )
        names = [name for name in ids if name is not None]
        rows = {name: row for row, name in enumerate(names)}
        if len(rows) < len(names):
            first = next(name for row, name in enumerate(names) if rows[name] != row)
            raise SourceError(
                f"{len(names) - len(rows)} rows of {self.path} repeat the material_id of another, the first being "
                f"{first}; make the identifiers unique."
            )
        return rows

    @cached_property
    def _composition(self) -> ElementCounts:
        return ElementCounts.from_lists(batch.column(0) for batch in self._batches([Column.ATOMIC_NUMBERS]))

    def _formulas(self, composition: ElementCounts) -> list[str]:
        """Formulas of the table, derived from the atoms where missing."""
        given: list[str | None] = [None] * len(self._rows)
        if Column.FORMULA in self._columns:
            given = [_text(formula) for formula in self._column(Column.FORMULA).to_pylist()]
        empty = [row for row, formula in enumerate(given) if not formula]
        derived = dict(zip(empty, composition.reduced_formulas(empty), strict=True))
        return [formula or derived[row] for row, formula in enumerate(given)]

    def _numbers(self, column: Column) -> pd.Series:
        """A column of numbers, NaN where unknown or if the table has no such column."""
        if column not in self._columns:
            return pd.Series(np.full(len(self._rows), np.nan))
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
        left = len(self._rows)
        with reading_parquet(self.path):
            for batch in pq.ParquetFile(self.path).iter_batches(BATCH_ROWS, columns=[str(name) for name in columns]):
                if left <= 0:
                    return
                yield batch.slice(0, left)
                left -= len(batch)


def _text(value: object) -> str | None:
    """A formula as text; None for anything else."""
    return value if isinstance(value, str) else None
