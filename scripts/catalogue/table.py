"""The catalogue's Parquet table and its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pymatgen.core import Structure

from scripts.catalogue.candidates import charge_balanced
from scripts.catalogue.selection import space_group_number

METADATA_KEY = b"catalogue"
"""Key of the JSON in the Parquet file's metadata."""

SCHEMA = pa.schema(
    [
        pa.field("material_id", pa.string(), nullable=False),
        pa.field("formula", pa.string(), nullable=False),
        pa.field("nsites", pa.int64(), nullable=False),
        pa.field("nelements", pa.int64(), nullable=False),
        pa.field("lattice", pa.list_(pa.float32()), nullable=False),
        pa.field("frac_coords", pa.list_(pa.float32()), nullable=False),
        pa.field("atomic_numbers", pa.list_(pa.int16()), nullable=False),
        pa.field("band_gap", pa.float64()),
        pa.field("energy_above_hull", pa.float64(), nullable=False),
        pa.field("formation_energy_per_atom", pa.float64(), nullable=False),
        pa.field("prototype", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("charge_balanced", pa.bool_(), nullable=False),
        pa.field("converged", pa.bool_(), nullable=False),
        pa.field("max_stress_gpa", pa.float32(), nullable=False),
        pa.field("max_force_ev_per_a", pa.float32(), nullable=False),
        pa.field("relaxation_steps", pa.int16(), nullable=False),
        pa.field("space_group_number", pa.int16(), nullable=False),
    ]
)
"""Columns: lattice row-major in Angstrom, energies in eV/atom, `band_gap` unknown (null) throughout."""


def catalogue_table(rows: pd.DataFrame) -> pa.Table:
    """Return the table of the selected rows, sorted by material_id.

    Parameters
    ----------
    rows
        Selected crystals with `structure` and `composition`.
    """
    records = [_record(row) for row in rows.sort_values("material_id").itertuples()]
    return pa.Table.from_pylist(records, schema=SCHEMA)


def _record(row: Any) -> dict[str, Any]:
    structure = _primitive(row.structure)
    return {
        "material_id": row.material_id,
        "formula": row.formula,
        "nsites": len(structure),
        "nelements": len(structure.composition.elements),
        "lattice": structure.lattice.matrix.ravel().tolist(),
        "frac_coords": (structure.frac_coords % 1.0).ravel().tolist(),
        "atomic_numbers": [site.specie.Z for site in structure],
        "band_gap": None,
        "energy_above_hull": round(row.energy_above_hull, 6),
        "formation_energy_per_atom": round(row.formation_energy_per_atom, 6),
        "prototype": row.prototype,
        "origin": row.origin,
        "charge_balanced": charge_balanced(row.composition),
        "converged": row.converged,
        "max_stress_gpa": row.max_stress_gpa,
        "max_force_ev_per_a": row.max_force_ev_per_a,
        "relaxation_steps": row.relaxation_steps,
        "space_group_number": space_group_number(structure),
    }


def _primitive(structure: Structure) -> Structure:
    """Return the primitive cell; the same cell when it is primitive already."""
    smaller = structure.get_primitive_structure(tolerance=0.02)
    return smaller if len(smaller) < len(structure) else structure


def write_catalogue(table: pa.Table, metadata: dict[str, Any], output: Path) -> None:
    """Write the table with its metadata, atomically and zstd-compressed."""
    output.parent.mkdir(parents=True, exist_ok=True)
    described = table.replace_schema_metadata({METADATA_KEY: json.dumps(metadata, sort_keys=True).encode()})
    partial = output.with_suffix(".partial")
    pq.write_table(described, partial, compression="zstd", compression_level=19)
    partial.replace(output)


def read_metadata(path: Path) -> dict[str, Any]:
    """Return how a catalogue was made: versions, settings, counts, energy reference."""
    stored = pq.read_schema(path).metadata or {}
    if METADATA_KEY not in stored:
        raise ValueError(f"The table {path} says nothing about how it was made; it is not a catalogue.")
    return json.loads(stored[METADATA_KEY])
