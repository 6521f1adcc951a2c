"""The pairs of atoms of a crystal within the reach of their integrals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.neighbours import find_neighbours
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.tight_binding.parameters import SlaterKosterTables


@dataclass(frozen=True)
class Pairs:
    """Every pair of atoms once, sorted by (first, second).

    Parameters
    ----------
    first, second
        Atoms, first <= second, shape (n_pairs,).
    offsets
        Cell of the second atom, shape (n_pairs, 3).
    distances_a
        Shape (n_pairs,).
    directions
        Unit vectors from first to second, shape (n_pairs, 3).
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    offsets: NDArray[np.int64]
    distances_a: NDArray[np.float64]
    directions: NDArray[np.float64]


def find_pairs(cell: PrimitiveCell, tables: SlaterKosterTables, rows: NDArray[np.int64]) -> Pairs:
    """Pairs nearer than the cut-off of their elements.

    Parameters
    ----------
    cell
        The crystal.
    tables
        Cut-offs.
    rows
        Row of each atom in the tables.
    """
    reach = float(tables.cutoffs_a[np.ix_(rows, rows)].max())
    first, second, offsets, distances = find_neighbours(cell.lattice, cell.frac_coords, reach)
    keep = distances < tables.cutoffs_a[rows[first], rows[second]]
    keep &= (first < second) | ((first == second) & _is_positive(offsets))
    order = np.lexsort((*offsets[keep].T, second[keep], first[keep]))
    chosen = np.flatnonzero(keep)[order]
    first, second, offsets = first[chosen], second[chosen], offsets[chosen]
    coordinates = cell.frac_coords @ cell.lattice
    vectors = coordinates[second] + offsets @ cell.lattice - coordinates[first]
    lengths = np.linalg.norm(vectors, axis=1)
    return Pairs(first, second, offsets, lengths, vectors / lengths[:, None])


def _is_positive(offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the first coordinate that is not zero is positive: one of each pair of opposite offsets."""
    leading = np.take_along_axis(offsets, np.argmax(offsets != 0, axis=1)[:, None], axis=1)[:, 0]
    return np.asarray(leading > 0)
