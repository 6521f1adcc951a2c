"""Symmetry of one crystal, at the tolerance used throughout the project."""

from __future__ import annotations

import logging

import moyopy

from mat2spec.crystals.cell import Cell

SYMMETRY_TOLERANCE_A = 0.01

# For supercells moyopy remarks that rotations of the primitive cell do not fit; group and cell are still right.
logging.getLogger("moyo").setLevel(logging.ERROR)


def find_symmetry(cell: Cell) -> moyopy.MoyoDataset:
    """Space group, operations and primitive cell of a crystal.

    Raises
    ------
    ValueError
        If no symmetry is found, e.g. for a crystal with two atoms at one position.
    """
    given = moyopy.Cell(cell.lattice.tolist(), cell.frac_coords.tolist(), cell.atomic_numbers.tolist())
    return moyopy.MoyoDataset(given, symprec=SYMMETRY_TOLERANCE_A)


def all_sites_equivalent(cell: Cell) -> bool:
    """Whether symmetry maps every site on every other; False if no symmetry is found."""
    try:
        return len(set(find_symmetry(cell).orbits)) == 1
    except ValueError:
        return False
