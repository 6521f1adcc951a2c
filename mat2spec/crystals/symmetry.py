"""Symmetry of one crystal, at the tolerance that the whole project uses."""

from __future__ import annotations

import logging

import moyopy

from mat2spec.crystals.cell import Cell

SYMMETRY_TOLERANCE_A = 0.01

# Of supercells moyopy notes that rotations of the primitive cell do not fit; group and cell are right all the same.
logging.getLogger("moyo").setLevel(logging.ERROR)


def find_symmetry(cell: Cell) -> moyopy.MoyoDataset:
    """Space group, operations and primitive cell of a crystal.

    Raises
    ------
    ValueError
        If no symmetry is found, as of a crystal with two atoms in one place.
    """
    given = moyopy.Cell(cell.lattice.tolist(), cell.frac_coords.tolist(), cell.atomic_numbers.tolist())
    return moyopy.MoyoDataset(given, symprec=SYMMETRY_TOLERANCE_A)
