"""Neighbours in a crystal, and the pairs of atoms within the reach of their integrals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres

from mat2spec.tight_binding.cells import PrimitiveCell
from mat2spec.tight_binding.parameters import SlaterKosterTables

_PERIODIC = np.ones(3, dtype=np.int64)


class Neighbours(NamedTuple):
    """Atoms and their neighbours, each pair from either end.

    Parameters
    ----------
    first, second
        The atom and its neighbour, shape (n_neighbours,).
    offsets
        Cell of the neighbour, shape (n_neighbours, 3).
    distances_a
        Shape (n_neighbours,).
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    offsets: NDArray[np.int64]
    distances_a: NDArray[np.float64]


def find_neighbours(lattice: NDArray[np.float64], frac_coords: NDArray[np.float64], reach_a: float) -> Neighbours:
    """All atoms and images within a distance of each atom, except the atom itself.

    Parameters
    ----------
    lattice
        Lattice vectors as rows, in Angstrom, shape (3, 3).
    frac_coords
        Shape (n_atoms, 3).
    reach_a
        Longest distance.
    """
    coordinates = np.ascontiguousarray(frac_coords @ lattice)
    first, second, images, distances = find_points_in_spheres(
        coordinates, coordinates, r=reach_a, pbc=_PERIODIC, lattice=np.ascontiguousarray(lattice)
    )
    others = (first != second) | images.any(axis=1)
    return Neighbours(first[others], second[others], np.rint(images[others]).astype(np.int64), distances[others])


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


def shortest_distance(lattice: NDArray[np.float64], frac_coords: NDArray[np.float64], reach_a: float) -> float:
    """Shortest distance between two atoms or images of one, in Angstrom; infinite beyond `reach_a`."""
    return float(find_neighbours(lattice, frac_coords, reach_a).distances_a.min(initial=np.inf))
