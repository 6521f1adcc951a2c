"""Shared by the bulk reads of spectra: the crystals of the spectra, parts on disk, and counts of what was left out."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from mat2spec.tables.columns import Column
from mat2spec.tables.files import make_folder
from mat2spec.tables.parquet import concatenate_tables, read_metadata, read_table, write_table
from screening.progress import Progress
from screening.settings import MaterialsProjectSettings
from screening.sources.materials_project.documents import calculation_number, normal_id
from screening.sources.materials_project.errors import MaterialsProjectError, ReconciliationError
from screening.sources.open_data.arrow_structures import crystal_columns
from screening.sources.open_data.delta import SUMMARY, batches_of, files_of, open_delta, release_of
from screening.sources.open_data.spectra import SpectrumError

if TYPE_CHECKING:
    from deltalake import DeltaTable

logger = logging.getLogger(__name__)

NON_COMMERCIAL = "BY-NC"
LEFT_OUT_KEY = "left_out"
REFERENCE_KEY = "reference"
RESERVED = "reserved formula"
NO_MATERIAL = "calculation of no valid material"
REPEATED = "second spectrum of a material"


@dataclass(frozen=True)
class ReleaseMaterials:
    """Crystals of one release, found by the identifier of the calculation that gave their spectrum.

    Parameters
    ----------
    release
        The release.
    rows
        Row of each calculation, by its number.
    table
        Columns `material_id`, `formula`, `lattice`, `frac_coords`, `atomic_numbers`; null where unusable.
    """

    release: str
    rows: Mapping[str, int]
    table: pa.Table

    @classmethod
    def read(
        cls,
        settings: MaterialsProjectSettings,
        calculations: Callable[[pa.RecordBatch], Iterable[Iterable[str]]],
        fields: Mapping[str, Any],
    ) -> ReleaseMaterials:
        """Read the collection `summary` without deprecated materials and, by default, without GNoME's.

        Parameters
        ----------
        settings
            Licence and limits.
        calculations
            Returns the identifiers of the calculations of each row of a batch.
        fields
            Columns of the batch that it needs.
        """
        summary = open_delta(SUMMARY, settings)
        release = release_of(summary)
        wanted = cls.fields(fields)
        batches = (batch for fragment in files_of(summary, release) for batch in batches_of(summary, fragment, wanted))
        return cls.of_batches(release, batches, settings, calculations)

    @staticmethod
    def fields(extra: Mapping[str, Any]) -> dict[str, Any]:
        """Columns of the collection `summary` that are needed, and some more."""
        return {**_summary_fields(), **extra}

    @classmethod
    def of_batches(
        cls,
        release: str,
        batches: Iterable[pa.RecordBatch],
        settings: MaterialsProjectSettings,
        calculations: Callable[[pa.RecordBatch], Iterable[Iterable[str]]],
    ) -> ReleaseMaterials:
        """Materials of batches of the collection `summary`, see `read`."""
        rows: dict[str, int] = {}
        pieces: list[pa.Table] = []
        n_rows = 0
        for batch in batches:
            valid = _valid(batch, settings.mp_include_gnome)
            names = [list(list_of) for list_of in calculations(valid)]
            has_any = np.array([bool(list_of) for list_of in names], dtype=np.bool_)
            pieces.append(_crystal_table(valid.filter(pa.array(has_any))))
            for row, list_of in enumerate(filter(None, names), start=n_rows):
                rows |= {calculation_number(name): row for name in list_of}
            n_rows += len(pieces[-1])
        return cls(release, rows, pa.concat_tables(pieces).combine_chunks() if pieces else _no_crystals())

    def row_of(self, identifier: str | None) -> int | None:
        """Row of the material of a calculation, None if it belongs to none."""
        return None if identifier is None else self.rows.get(calculation_number(identifier))

    def crystal(self, identifier: str | None, reserved: frozenset[str]) -> dict[str, Any]:
        """Columns of the material of a calculation.

        Raises
        ------
        SpectrumError
            If the calculation belongs to no material, or to one without a usable structure or of a reserved formula.
        """
        position = self.row_of(identifier)
        if position is None:
            raise SpectrumError(NO_MATERIAL)
        found = {name: self.table[name][position].as_py() for name in self.table.column_names}
        # Lattice, coordinates and atomic numbers of an unusable structure are missing together.
        if found[Column.LATTICE] is None:
            raise SpectrumError("The material has no usable structure.")
        if found[Column.FORMULA] in reserved:
            raise SpectrumError(RESERVED)
        return found


def _summary_fields() -> dict[str, Any]:
    fields = {name: ds.field(name) for name in ("material_id", "formula_pretty", "structure", "deprecated")}
    return fields | {"license": ds.field("builder_meta", "license")}


def _valid(batch: pa.RecordBatch, include_gnome: bool) -> pa.RecordBatch:
    keep = pc.invert(pc.fill_null(batch["deprecated"], False))
    if not include_gnome:
        keep = pc.and_(keep, pc.fill_null(pc.not_equal(batch["license"], NON_COMMERCIAL), True))
    return batch.filter(keep)


def _crystal_table(batch: pa.RecordBatch) -> pa.Table:
    lattice, coordinates, numbers = crystal_columns(batch["structure"])
    names = [normal_id(name) for name in batch["material_id"].to_pylist()]
    columns = [pa.array(names, pa.string()), batch["formula_pretty"].cast(pa.string()), lattice, coordinates, numbers]
    return pa.table(columns, schema=_no_crystals().schema)


def _no_crystals() -> pa.Table:
    schema = {
        Column.MATERIAL_ID: pa.string(),
        Column.FORMULA: pa.string(),
        Column.LATTICE: pa.list_(pa.float64()),
        Column.FRAC_COORDS: pa.list_(pa.float64()),
        Column.ATOMIC_NUMBERS: pa.list_(pa.int16()),
    }
    return pa.schema(schema).empty_table()


@dataclass
class BulkRead:
    """A read of all spectra of a Delta table into one Parquet table; each finished file is kept as a part.

    Parameters
    ----------
    target
        The table to write.
    source
        The Delta table.
    rows_of
        Turns a batch into rows, and counts why others were left out.
    columns
        Columns of the Delta table that it needs, or expressions by name.
    schema
        Of the rows.
    identity
        All that determines the rows besides the source: parts of another identity are not reused.
    key
        Columns that identify a row; of several rows with the same values the first is kept.
    """

    target: Path
    source: DeltaTable
    rows_of: Callable[[pa.RecordBatch, Counter[str]], list[dict[str, Any]]]
    columns: list[str] | dict[str, Any]
    schema: pa.Schema
    identity: str
    key: tuple[str, ...]
    left_out: Counter[str] = field(default_factory=Counter)
    _seen: set[tuple[str, ...]] = field(default_factory=set)

    def run(self, metadata: Mapping[str, str], progress: Progress) -> int:
        """Read what is missing and write the table; return its number of rows.

        Raises
        ------
        MaterialsProjectError
            If the reading fails; finished parts are kept.
        """
        files = files_of(self.source)
        parts = [self._part(fragment, progress, done, len(files)) for done, fragment in enumerate(files)]
        if not parts:
            raise MaterialsProjectError(f"The Delta table {self.source.table_uri} contains no rows.")
        for part in parts:
            self.left_out.update(json.loads(read_metadata(part)[LEFT_OUT_KEY]))
        written = concatenate_tables(
            self.target,
            (read_table(part) for part in parts),
            {**metadata, LEFT_OUT_KEY: json.dumps(self.left_out, sort_keys=True)},
        )
        if written == 0:
            self.target.unlink()
            raise MaterialsProjectError(
                f"None of the spectra of {self.source.table_uri} can be used: "
                + ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.most_common())
            )
        self._reconcile(written)
        shutil.rmtree(self.folder)
        return written

    @property
    def folder(self) -> Path:
        """Folder of the parts until the table is complete."""
        return self.target.with_name(f".{self.target.name}.parts")

    def _part(self, fragment: Any, progress: Progress, done: int, total: int) -> Path:
        """One file of the Delta table, read unless it has been read before."""
        name = hashlib.sha256(f"{self.identity} {fragment.path}".encode()).hexdigest()[:16]
        part = make_folder(self.folder) / f"{name}.parquet"
        if not part.exists():
            left_out: Counter[str] = Counter()
            pieces = [
                pa.Table.from_pylist(self._first_ones(self.rows_of(batch, left_out), left_out), schema=self.schema)
                for batch in batches_of(self.source, fragment, self.columns)
            ]
            table = pa.concat_tables(pieces) if pieces else self.schema.empty_table()
            write_table(part, table, {LEFT_OUT_KEY: json.dumps(left_out, sort_keys=True)})
        else:
            self._seen |= {tuple(row.values()) for row in read_table(part, list(self.key)).to_pylist()}
        progress(done + 1, total)
        return part

    def _first_ones(self, rows: list[dict[str, Any]], left_out: Counter[str]) -> list[dict[str, Any]]:
        """Rows without duplicates, also across files."""
        kept = []
        for row in rows:
            key = tuple(row[name] for name in self.key)
            if key in self._seen:
                left_out[REPEATED] += 1
                continue
            self._seen.add(key)
            kept.append(row)
        return kept

    def _reconcile(self, written: int) -> None:
        """Check that all rows of the Delta table are in the table or counted as left out."""
        expected, seen = int(self.source.count()), written + sum(self.left_out.values())
        if seen != expected:
            self.target.unlink()
            raise ReconciliationError(
                f"{self.source.table_uri} holds {expected:,} spectra, but {seen:,} were read; run the command again."
            )


def say_left_out(left_out: Mapping[str, int]) -> None:
    """Log how many spectra were left out, and why."""
    for reason, count in sorted(left_out.items()):
        logger.warning("%d spectra left out: %s", count, reason)
