"""The open-data copy of the Materials Project as a source: no API key, no filtering by the server, one bulk read.

    from screening.sources.open_data.source import open_open_data
    source = open_open_data(SourceSettings(kind=SourceKind.OPEN_DATA))

The collection `summary` is read once per release into a Parquet table; from then on the source is that table.
It holds only the relaxed cells.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from filelock import Timeout
from numpy.typing import NDArray
from pymatgen.core import Element

from mat2spec.tables.columns import Column
from mat2spec.tables.files import atomic_file
from mat2spec.tables.locks import take_lock
from mat2spec.tables.parquet import COMPRESSION
from screening.progress import Progress, no_progress
from screening.settings import MaterialsProjectSettings, SourceKind, SourceSettings
from screening.sources.base import DB_VERSION_KEY, FILTER_COUNTS_KEY
from screening.sources.materials_project.counts import FilterCount
from screening.sources.materials_project.documents import LAST_UPDATED, LICENSE, crystal_fields, normal_id
from screening.sources.materials_project.errors import MaterialsProjectError, ReconciliationError
from screening.sources.materials_project.table import EdosEvidence
from screening.sources.open_data.arrow_structures import crystal_columns
from screening.sources.open_data.delta import SUMMARY, batches_of, files_of, open_delta, release_of
from screening.sources.parquet import ParquetSource

if TYPE_CHECKING:
    from deltalake import DeltaTable

logger = logging.getLogger(__name__)

NON_COMMERCIAL = "BY-NC"
# Increased when the columns of the cached table change.
TABLE_VERSION = 1


def open_data_release(settings: MaterialsProjectSettings) -> str:
    """The newest release of the open data; reads only the log of the table."""
    return release_of(open_delta(SUMMARY, settings))


def open_open_data(
    settings: SourceSettings, progress: Progress = no_progress, db_version: str | None = None
) -> ParquetSource:
    """Read the open data of the newest release, unless they are cached.

    Parameters
    ----------
    settings
        The source: cache, licence, limit.
    progress
        Called with the materials read so far and their number.
    db_version
        Use the table of this release if it is cached, without any query.

    Raises
    ------
    MaterialsProjectError
        If the open data cannot be reached, contain no relaxed cells, or do not add up.
    """
    if settings.mp_cells != "relaxed":
        raise MaterialsProjectError(
            "The open data hold relaxed cells only; set source.mp_cells=relaxed, or use the API with a key "
            "(source.kind=materials-project)."
        )
    if db_version is not None and (path := _table_path(settings, db_version)).exists():
        return ParquetSource(path, name=SourceKind.OPEN_DATA, limit=settings.limit)
    table = open_delta(SUMMARY, settings)
    release = release_of(table)
    path = _table_path(settings, release)
    with _locked(path.parent):
        if not path.exists():
            _download(table, release, path, settings.mp_include_gnome, progress)
    return ParquetSource(path, name=SourceKind.OPEN_DATA, limit=settings.limit)


def _table_path(settings: MaterialsProjectSettings, release: str) -> Path:
    licence = "all" if settings.mp_include_gnome else "commercial"
    folder = settings.mp_cache_dir / "open-data" / re.sub(r"[^A-Za-z0-9._-]", "_", release)
    return folder / f"crystals-{licence}-v{TABLE_VERSION}.parquet"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        lock = take_lock(folder / ".lock")
    except Timeout as error:
        raise MaterialsProjectError(
            f"Another process is reading the open data into {folder}. Wait until it ends and run the command again."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _download(
    table: DeltaTable, release: str, path: Path, include_gnome: bool, progress: Callable[[int, int], None]
) -> None:
    """Read the release in two passes: what is wanted and what has an eDOS, then the crystals."""
    files = files_of(table, release)
    wanted, counts, evidence = _survey(table, files, include_gnome)
    metadata = {
        DB_VERSION_KEY: release,
        FILTER_COUNTS_KEY: json.dumps(counts),
        "edos_rule": evidence.rule,
        "contradicting_has_props": str(evidence.n_lies),
    }
    schema = _schema().with_metadata(metadata)
    has_edos, start, written = evidence.has_edos, 0, 0
    with atomic_file(path) as file, pq.ParquetWriter(file, schema, compression=COMPRESSION) as writer:
        for fragment in files:
            for batch in batches_of(table, fragment, _crystal_fields()):
                rows = slice(start, start + len(batch))
                part = _crystals(batch, wanted[rows], has_edos[rows], schema)
                writer.write_table(part)
                start, written = rows.stop, written + len(part)
                progress(start, len(wanted))
        if start != len(wanted) or written != counts[-1].remaining:
            raise ReconciliationError(
                f"The open data changed while they were read: {written:,} of {counts[-1].remaining:,} materials were read. "
                "Run the command again."
            )


def _survey(
    table: DeltaTable, files: list[Any], include_gnome: bool
) -> tuple[NDArray[np.bool_], list[FilterCount], EdosEvidence]:
    """Which rows are wanted, what each filter removed, and the evidence for an eDOS, over all rows of the release."""
    fields = {
        "deprecated": ds.field("deprecated"),
        "license": ds.field("builder_meta", "license"),
        "task_id": ds.field("dos", "task_id"),
        "has_props": ds.field("has_props"),
    }
    columns: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in ("valid", "commercial", "claims", "proves")}
    for fragment in files:
        for batch in batches_of(table, fragment, fields):
            columns["valid"].append(~_flags(batch["deprecated"]))
            columns["commercial"].append(~_flags(pc.equal(batch["license"], NON_COMMERCIAL)))
            columns["proves"].append(_flags(pc.is_valid(batch["task_id"])))
            columns["claims"].append(_flags(pc.map_lookup(batch["has_props"], "dos", "first")))
    flags = {name: np.concatenate([np.empty(0, dtype=np.bool_), *parts]) for name, parts in columns.items()}
    valid, commercial = flags["valid"], flags["commercial"]
    counts = [
        FilterCount("Materials Project, open data", 0, 0, 0, len(valid)),
        FilterCount("not deprecated", int((~valid).sum()), 0, 0, int(valid.sum())),
    ]
    if not include_gnome:
        both = valid & commercial
        counts.append(FilterCount("without GNoME", int((valid & ~commercial).sum()), 0, 0, int(both.sum())))
        valid = both
    evidence = EdosEvidence(claims=flags["claims"], proves=flags["proves"])
    if evidence.n_lies:
        logger.warning("has_props is wrong about the eDOS of %d of %d materials.", evidence.n_lies, len(valid))
    return valid, counts, evidence


def _flags(values: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(values, False), dtype=np.bool_)


def _crystal_fields() -> dict[str, Any]:
    names = ("material_id", "formula_pretty", "composition", "structure", "band_gap", "energy_above_hull")
    fields = {name: ds.field(name) for name in (*names, "last_updated")}
    return fields | {"license": ds.field("builder_meta", "license")}


def _schema() -> pa.Schema:
    return pa.schema(
        {
            **crystal_fields(),
            Column.BAND_GAP: pa.float64(),
            Column.ENERGY_ABOVE_HULL: pa.float64(),
            LICENSE: pa.string(),
            LAST_UPDATED: pa.string(),
            Column.HAS_EDOS: pa.bool_(),
        }
    )


def _crystals(
    batch: pa.RecordBatch, wanted: NDArray[np.bool_], has_edos: NDArray[np.bool_], schema: pa.Schema
) -> pa.Table:
    """Rows of the table of crystals; coordinates of materials with an eDOS, which are never predicted, are left out."""
    batch, with_edos = batch.filter(pa.array(wanted)), has_edos[wanted]
    lattice, coordinates, numbers = crystal_columns(batch["structure"])
    missing = np.flatnonzero(np.asarray(pc.is_null(numbers)))
    if len(missing):
        numbers = _numbers_of_compositions(numbers, missing, batch["composition"])
    return pa.table(
        {
            Column.MATERIAL_ID: [normal_id(name) for name in batch["material_id"].to_pylist()],
            Column.FORMULA: batch["formula_pretty"],
            Column.LATTICE: pc.if_else(pa.array(with_edos), pa.scalar(None, lattice.type), lattice),
            Column.FRAC_COORDS: pc.if_else(pa.array(with_edos), pa.scalar(None, coordinates.type), coordinates),
            Column.ATOMIC_NUMBERS: numbers,
            Column.BAND_GAP: batch["band_gap"],
            Column.ENERGY_ABOVE_HULL: batch["energy_above_hull"],
            LICENSE: batch["license"],
            LAST_UPDATED: batch["last_updated"].cast(pa.string()),
            Column.HAS_EDOS: pa.array(with_edos),
        }
    ).cast(schema)


def _numbers_of_compositions(numbers: pa.Array, missing: NDArray[np.int64], compositions: pa.Array) -> pa.Array:
    """Atoms of rows without a usable structure, so that the screen lists them with the reason."""
    rows = numbers.to_pylist()
    for row in missing:
        rows[row] = _atoms_of(dict(compositions[int(row)].as_py() or []))
    return pa.array(rows, type=numbers.type)


def _atoms_of(composition: Mapping[str, float]) -> list[int]:
    atoms = [(int(Element(symbol).Z), round(amount)) for symbol, amount in composition.items() if amount]
    return [number for number, amount in sorted(atoms) for _ in range(amount)]
