"""From documents of the Materials Project to rows of a table of crystals.

No pymatgen objects are made: a structure is nine numbers for the lattice, and three numbers and an
atomic number per site. A document without a usable structure still becomes a row, without coordinates, so
that the screen lists it with the reason; its atoms come from its composition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa
from pymatgen.core import Element

from mat2spec.tables.columns import Column

CellLists = tuple[list[float], list[float], list[int]]
Document = Mapping[str, Any]

# Columns of pages besides those of every table of crystals.
CLAIMS_EDOS = "claims_edos"
PROVES_EDOS = "proves_edos"
LICENSE = "license"
LAST_UPDATED = "last_updated"
NO_STRUCTURE = "no_structure"
# A site is one atom if its only species fills it.
FULL_OCCUPANCY_TOLERANCE = 1e-3


def crystal_fields() -> dict[str, pa.DataType]:
    """Columns of a crystal, lattice in Angstrom."""
    return {
        Column.MATERIAL_ID: pa.string(),
        Column.FORMULA: pa.string(),
        Column.LATTICE: pa.list_(pa.float64()),
        Column.FRAC_COORDS: pa.list_(pa.float64()),
        Column.ATOMIC_NUMBERS: pa.list_(pa.int16()),
    }


def page_schema() -> pa.Schema:
    """Columns of a page."""
    return pa.schema(
        {
            **crystal_fields(),
            Column.BAND_GAP: pa.float64(),
            Column.ENERGY_ABOVE_HULL: pa.float64(),
            CLAIMS_EDOS: pa.bool_(),
            PROVES_EDOS: pa.bool_(),
            LICENSE: pa.string(),
            LAST_UPDATED: pa.string(),
            NO_STRUCTURE: pa.bool_(),
        }
    )


def page_table(documents: Sequence[Document], structures: Mapping[str, Any] | None = None) -> pa.Table:
    """Rows of summary documents, in their order.

    Parameters
    ----------
    documents
        With the fields of `screening.sources.materials_project.query`.
    structures
        Structure of each material by its normalised identifier; those of the documents if not given.
    """
    rows = [_row(document, structures) for document in documents]
    return pa.Table.from_pylist(rows, schema=page_schema())


def normal_id(identifier: Any) -> str:
    """The identifier in its usual form: "mp-149", not the padded letters "mp-aaaaaaft" of the database."""
    from emmet.core.types.typing import format_identifier

    return str(format_identifier(identifier, legacy=True))


def calculation_number(identifier: Any) -> str:
    """Key of a calculation: documents write "mp-149" or "mp-aaaaaaft", the tables of spectra only "aaaaaaft"."""
    return normal_id(identifier).rpartition("-")[2]


def first_initial_structures(documents: Sequence[Document]) -> dict[str, Any]:
    """The first initial structure of each core document, None if it has none."""
    return {
        normal_id(document["material_id"]): next(iter(document.get("initial_structures") or []), None)
        for document in documents
    }


def cell_of(structure: Mapping[str, Any] | None) -> CellLists | None:
    """Lattice (9 numbers), fractional coordinates and atomic numbers, or None if the crystal is not ordered."""
    try:
        sites = (structure or {})["sites"]
        matrix = [float(number) for row in structure["lattice"]["matrix"] for number in row]  # type: ignore[index]
        numbers = [_atomic_number(site) for site in sites]
        coordinates = [float(number) for site in sites for number in site["abc"]]
    except (KeyError, TypeError, ValueError):
        return None
    if not numbers or len(matrix) != 9 or len(coordinates) != 3 * len(numbers):
        return None
    return matrix, coordinates, numbers


def _row(document: Document, structures: Mapping[str, Any] | None) -> dict[str, Any]:
    material_id = normal_id(document["material_id"])
    structure = document.get("structure") if structures is None else structures.get(material_id)
    cell = cell_of(structure)
    lattice, coordinates, numbers = cell or (None, None, _atoms_of(document.get("composition")))
    has_props = document.get("has_props") or {}
    return {
        Column.MATERIAL_ID: material_id,
        Column.FORMULA: document.get("formula_pretty"),
        Column.LATTICE: lattice,
        Column.FRAC_COORDS: coordinates,
        Column.ATOMIC_NUMBERS: numbers,
        Column.BAND_GAP: document.get("band_gap"),
        Column.ENERGY_ABOVE_HULL: document.get("energy_above_hull"),
        CLAIMS_EDOS: bool(has_props.get("dos")),
        PROVES_EDOS: any((document.get("dos") or {}).values()),
        LICENSE: (document.get("builder_meta") or {}).get("license"),
        LAST_UPDATED: _text_of_time(document.get("last_updated")),
        NO_STRUCTURE: cell is None,
    }


def _text_of_time(time: Any) -> str | None:
    return str(time.get("$date") if isinstance(time, dict) else time) if time else None


def _atoms_of(composition: Mapping[str, float] | None) -> list[int]:
    """Atomic numbers of a cell of which only the composition is known."""
    atoms = [(_number_of(symbol), round(amount)) for symbol, amount in (composition or {}).items()]
    return [number for number, amount in sorted(atoms) for _ in range(amount)]


def _atomic_number(site: Mapping[str, Any]) -> int:
    """Atomic number of the only atom of a site.

    Raises
    ------
    ValueError
        If several species share the site or it is partly empty.
    """
    (species,) = site["species"]
    if abs(float(species.get("occu", 1)) - 1) > FULL_OCCUPANCY_TOLERANCE:
        raise ValueError("partial occupancy")
    return _number_of(species["element"])


@lru_cache(maxsize=256)
def _number_of(symbol: str) -> int:
    return int(Element(symbol).Z)
