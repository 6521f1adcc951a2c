"""The eDOS store: computed electronic densities of states with their crystals and their origin, to train on.

A store is one Parquet file with a row per crystal and DFT settings. `dft_validation.labels` writes it; here is its
format and how it is read.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from mat2spec.labels.levels import Level
from mat2spec.labels.splits import Part
from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY, SpectralGrid
from mat2spec.tables.files import TableError
from mat2spec.tables.parquet import read_table

# Columns that stores of version 0.1 lack.
LATER_COLUMNS = (
    "structure_hash",
    "level",
    "kpoint_density",
    "vbm",
    "cbm",
    "magnetization",
    "n_electrons",
    "edos_fine",
    "projection_names",
    "projections",
    "projected_share",
)
# Metadata of a store that is trained on at another level.
TRAINING_LEVEL_KEY = "training_level"


def store_schema() -> pa.Schema:
    """Columns of a store.

    `edos` holds the 128 bin averages on `mat2spec.spectra.grids.EDOS_GRID` in states/eV per cell of `nsites` atoms, zero at
    the VBM or E_F; `efermi`, `energy_zero_ev`, `band_gap` and `covered_to_ev` are in eV; `lattice` is 9 numbers
    (rows, Angstrom), `frac_coords` 3 per site. `u_values` and `versions` are JSON. `source` says where the crystal
    comes from, `selected_as` why it was computed. A label of a database is kept without its crystal: `material_id` and
    `structure_hash` say which it is, and the spectra count states per primitive cell of `nsites` atoms. `edos_fine` holds
    the density of each spin channel on `dft_validation.bands.FINE_EDOS_GRID` (NaN where bands are missing), one after the
    other; `projections` the parts of `edos` on the orbitals `projection_names`, one after the other; `projected_share` the
    sum of these over that of the spectrum. Files of version 0.1 lack the columns from `structure_hash` on. What `settings_hash` stands for is in the metadata
    (`dft_settings`).
    """
    text, real = pa.string(), pa.float64()
    fields = {
        "material_id": text,
        "formula": text,
        "nsites": pa.int64(),
        "lattice": pa.list_(real),
        "frac_coords": pa.list_(real),
        "atomic_numbers": pa.list_(pa.int16()),
        "edos": pa.list_(pa.float32()),
        "band_gap": real,
        "efermi": real,
        "energy_zero_ev": real,
        "is_metal": pa.bool_(),
        "covered_to_ev": real,
        "engine": text,
        "engine_version": text,
        "functional": text,
        "spin": text,
        "u_values": text,
        "kpoints": text,
        "cpu_seconds": real,
        "versions": text,
        "settings_hash": text,
        "notes": text,
        "source": text,
        "selected_as": text,
    }
    half = pa.list_(pa.float16())
    kinds = {
        "structure_hash": text,
        "level": text,
        "edos_fine": half,
        "projection_names": pa.list_(text),
        "projections": half,
    }
    optional = {"lattice", "frac_coords", "atomic_numbers"}
    return pa.schema(
        [pa.field(name, kind, nullable=name in optional) for name, kind in fields.items()]
        + [pa.field(name, kinds.get(name, real)) for name in LATER_COLUMNS]
    )


def read_edos_store(path: Path) -> pa.Table:
    """Read a store: one file, or all shards of a folder; columns that an older file lacks are null.

    Raises
    ------
    mat2spec.tables.files.TableError
        If a file is missing or damaged, lacks a column, or its spectra lie on another grid.
    """
    import pyarrow as pa

    shards = shards_of(path) if path.is_dir() else [path]
    if not shards:
        raise TableError(f"The eDOS store {path} holds no Parquet file; check the path.")
    tables = [_read_shard(shard) for shard in shards]
    return pa.concat_tables(tables).replace_schema_metadata(tables[0].schema.metadata)


def shards_of(folder: Path) -> list[Path]:
    """The files of a store that is a folder, in their order."""
    return sorted(folder.glob("*.parquet"))


def _read_shard(path: Path) -> pa.Table:
    import pyarrow as pa

    table = read_table(path)
    schema = store_schema()
    missing = [name for name in schema.names if name not in table.column_names]
    required = [name for name in missing if name not in LATER_COLUMNS]
    if required:
        raise TableError(
            f"The eDOS store {path} lacks the column {', '.join(required)}; rewrite it with mat2spec label."
        )
    text = (table.schema.metadata or {}).get(GRID_METADATA_KEY.encode())
    if text is None or SpectralGrid.from_json(text.decode()) != EDOS_GRID:
        raise TableError(f"The spectra of the eDOS store {path} lie on another grid; rewrite it with mat2spec label.")
    for name in missing:
        table = table.append_column(name, pa.nulls(len(table), schema.field(name).type))
    return table.select(schema.names).cast(schema).replace_schema_metadata(table.schema.metadata)


def training_level(store: pa.Table) -> dict[str, str] | None:
    """The level of theory at which a store is trained on, if its metadata name one: columns with their values.

    A store of the Materials Project names its functional only: with U and spin where its rules ask for them, its spectra
    are one consistent set, but not to be mixed with others.
    """
    text = (store.schema.metadata or {}).get(TRAINING_LEVEL_KEY.encode())
    return None if text is None else {str(name): str(value) for name, value in json.loads(text).items()}


def parts_of_plan(store: pa.Table) -> dict[str, Part]:
    """Part of the label plan of each label that is of one, by material id: labels at the level of the Materials Project."""
    rows = zip(*(store[name].to_pylist() for name in ("material_id", "level", "selected_as")), strict=True)
    return {name: Part(chosen) for name, level, chosen in rows if level == Level.MP and chosen in set(Part)}
