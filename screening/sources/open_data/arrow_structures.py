"""Structures of the Materials Project as Arrow columns: lattices and sites without a Python object for each."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pymatgen.core import Element

from screening.sources.materials_project.documents import FULL_OCCUPANCY_TOLERANCE


def crystal_columns(structures: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Lattices, fractional coordinates and atomic numbers of a column of pymatgen structures.

    Parameters
    ----------
    structures
        Structs as emmet-core stores them: `lattice.matrix`, `sites[].species[].element`, `sites[].abc`.

    Returns
    -------
    lattice, frac_coords, atomic_numbers
        Lists of 9 numbers in Angstrom, of 3 per site, and of one per site; null for structures that are missing,
        damaged, or have sites that are shared by several species or partly empty.
    """
    n = len(structures)
    lattice, lattice_length = _numbers_of(_field(_field(structures, "lattice"), "matrix"))
    sites = _field(structures, "sites")
    site_rows, flat_sites = _flatten(sites)
    coordinates, coordinate_length = _numbers_of(_field(flat_sites, "abc"))
    numbers = _atomic_numbers(_field(flat_sites, "species"))
    n_sites = np.bincount(site_rows, minlength=n)
    bad_sites = np.bincount(site_rows[(numbers < 1) | (coordinate_length != 3)], minlength=n)
    usable = (lattice_length == 9) & (n_sites > 0) & (bad_sites == 0)
    of_usable = usable[site_rows]
    return (
        _lists(lattice[np.repeat(usable, lattice_length)], np.where(usable, 9, 0), usable, pa.float64()),
        _lists(
            coordinates[np.repeat(of_usable, coordinate_length)], np.where(usable, 3 * n_sites, 0), usable, pa.float64()
        ),
        _lists(numbers[of_usable], np.where(usable, n_sites, 0), usable, pa.int16()),
    )


def _field(structs: pa.Array, name: str) -> pa.Array:
    """A field of structs, null where the struct is."""
    return pc.struct_field(structs, name)


def _flatten(lists: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """Row of every element, and the elements."""
    return pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64), pc.list_flatten(lists)


def _numbers_of(lists: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Numbers in lists, or in lists of lists, and how many each row has."""
    rows, values = _flatten(lists)
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        inner, values = _flatten(values)
        rows = rows[inner]
    length = np.bincount(rows, minlength=len(lists)).astype(np.int64)
    return values.to_numpy(zero_copy_only=False).astype(np.float64), length


def _atomic_numbers(species: pa.Array) -> NDArray[np.int64]:
    """Atomic number of the only atom of each site; 0 if there is none or more than one."""
    rows, atoms = _flatten(species)
    elements = _field(atoms, "element").dictionary_encode()
    of_symbol = np.array([_number_of(symbol) for symbol in elements.dictionary.to_pylist()] or [0], dtype=np.int64)
    known = of_symbol[pc.fill_null(elements.indices, 0).to_numpy(zero_copy_only=False)]
    known = np.where(np.asarray(pc.is_null(elements)), 0, known)
    if "occu" in {field.name for field in atoms.type}:
        occupancy = pc.fill_null(_field(atoms, "occu").cast(pa.float64()), 1.0).to_numpy(zero_copy_only=False)
        known = np.where(np.abs(occupancy - 1) > FULL_OCCUPANCY_TOLERANCE, 0, known)
    numbers = np.zeros(len(species), dtype=np.int64)
    numbers[rows] = known
    return np.where(np.bincount(rows, minlength=len(species)) == 1, numbers, 0)


@cache
def _number_of(symbol: str | None) -> int:
    return int(Element(symbol).Z) if symbol and Element.is_valid_symbol(symbol) else 0


def _lists(
    values: NDArray[np.generic], lengths: NDArray[np.int64], valid: NDArray[np.bool_], kind: pa.DataType
) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, type=kind), mask=pa.array(~valid))
