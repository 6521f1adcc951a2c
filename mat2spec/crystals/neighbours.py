"""Neighbours of the atoms of one crystal within a given distance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres

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


def shortest_distance(lattice: NDArray[np.float64], frac_coords: NDArray[np.float64], reach_a: float) -> float:
    """Shortest distance between two atoms or images of one, in Angstrom; infinite beyond `reach_a`."""
    return float(find_neighbours(lattice, frac_coords, reach_a).distances_a.min(initial=np.inf))
