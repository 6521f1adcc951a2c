"""The eDOS store: computed electronic densities of states with crystals and provenance, for training.

A store is one Parquet file with a row per crystal and DFT settings. `dft_validation.labels` writes it; this module
defines its format and reads it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from mat2spec.labels.splits import Part
from mat2spec.settings import Level
from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY, SpectralGrid
from mat2spec.tables.columns import Column
from mat2spec.tables.files import TableError
from mat2spec.tables.parquet import read_table

# Metadata of a store with another level of theory.
TRAINING_LEVEL_KEY = "training_level"

_TEXT, _REAL, _HALVES = pa.string(), pa.float64(), pa.list_(pa.float16())
# A label of a database is stored without its crystal: `material_id` and `structure_hash` identify it, and the spectra
# are per primitive cell of `nsites` atoms.
_CRYSTAL_COLUMNS = {
    Column.LATTICE: pa.list_(_REAL),
    Column.FRAC_COORDS: pa.list_(_REAL),
    Column.ATOMIC_NUMBERS: pa.list_(pa.int16()),
}
# Columns that files of version 0.1 lack.
LATER_COLUMNS = {
    Column.STRUCTURE_HASH: _TEXT,
    Column.LEVEL: _TEXT,
    Column.KPOINT_DENSITY: _REAL,
    Column.VBM: _REAL,
    Column.CBM: _REAL,
    Column.MAGNETIZATION: _REAL,
    Column.N_ELECTRONS: _REAL,
    Column.EDOS_FINE: _HALVES,
    Column.PROJECTION_NAMES: pa.list_(_TEXT),
    Column.PROJECTIONS: _HALVES,
    Column.PROJECTED_SHARE: _REAL,
}
_COLUMNS = {
    Column.MATERIAL_ID: _TEXT,
    Column.FORMULA: _TEXT,
    Column.NSITES: pa.int64(),
    **_CRYSTAL_COLUMNS,
    Column.EDOS: pa.list_(pa.float32()),
    Column.BAND_GAP: _REAL,
    Column.EFERMI: _REAL,
    Column.ENERGY_ZERO_EV: _REAL,
    Column.IS_METAL: pa.bool_(),
    Column.COVERED_TO_EV: _REAL,
    Column.ENGINE: _TEXT,
    Column.ENGINE_VERSION: _TEXT,
    Column.FUNCTIONAL: _TEXT,
    Column.SPIN: _TEXT,
    Column.U_VALUES: _TEXT,
    Column.KPOINTS: _TEXT,
    Column.CPU_SECONDS: _REAL,
    Column.VERSIONS: _TEXT,
    Column.SETTINGS_HASH: _TEXT,
    Column.NOTES: _TEXT,
    Column.SOURCE: _TEXT,
    Column.SELECTED_AS: _TEXT,
    **LATER_COLUMNS,
}
# `edos` holds bin averages on `mat2spec.spectra.grids.EDOS_GRID`; `edos_fine` is on `dft_validation.bands.mesh.FINE_EDOS_GRID`
# (NaN where bands are missing). The settings behind `settings_hash` are in the metadata (`dft_settings`).
STORE_SCHEMA = pa.schema(
    [
        pa.field(str(column), kind, nullable=column in _CRYSTAL_COLUMNS or column in LATER_COLUMNS)
        for column, kind in _COLUMNS.items()
    ]
)


def read_edos_store(path: Path) -> pa.Table:
    """Read a store: one file, or all shards of a folder; columns that an older file lacks are null.

    Raises
    ------
    mat2spec.tables.files.TableError
        If a file is missing or damaged, lacks a column, or its spectra lie on another grid.
    """
    shards = shards_of(path) if path.is_dir() else [path]
    if not shards:
        raise TableError(f"The eDOS store {path} contains no Parquet file; check the path.")
    tables = [_read_shard(shard) for shard in shards]
    return pa.concat_tables(tables).replace_schema_metadata(tables[0].schema.metadata)


def shards_of(folder: Path) -> list[Path]:
    """The files of a store that is a folder, in their order."""
    return sorted(folder.glob("*.parquet"))


def _read_shard(path: Path) -> pa.Table:
    table = read_table(path)
    schema = STORE_SCHEMA
    missing = [name for name in schema.names if name not in table.column_names]
    required = [name for name in missing if name not in LATER_COLUMNS]
    if required:
        raise TableError(
            f"The eDOS store {path} lacks the column {', '.join(required)}; write it again with mat2spec label."
        )
    text = (table.schema.metadata or {}).get(GRID_METADATA_KEY.encode())
    if text is None or SpectralGrid.from_json(text.decode()) != EDOS_GRID:
        raise TableError(
            f"The spectra of the eDOS store {path} are on another grid; write it again with mat2spec label."
        )
    for name in missing:
        table = table.append_column(name, pa.nulls(len(table), schema.field(name).type))
    return table.select(schema.names).cast(schema).replace_schema_metadata(table.schema.metadata)


def training_level(store: pa.Table) -> dict[str, str] | None:
    """The level of theory at which a store is trained on, if its metadata names one: columns with their values.

    A store of the Materials Project gives only its functional: with U and spin where its rules require them, its spectra
    form one consistent set that must not be mixed with others.
    """
    text = (store.schema.metadata or {}).get(TRAINING_LEVEL_KEY.encode())
    return None if text is None else {str(name): str(value) for name, value in json.loads(text).items()}


def parts_of_plan(store: pa.Table) -> dict[str, Part]:
    """Part of the label plan by material id, for labels of a plan, which are at the level of the Materials Project."""
    rows = zip(*(store[name].to_pylist() for name in ("material_id", "level", "selected_as")), strict=True)
    return {name: Part(chosen) for name, level, chosen in rows if level == Level.MP and chosen in set(Part)}
