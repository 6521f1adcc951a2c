"""Neighbours of the atoms of a crystal: the nearest ones, with the last shell complete.

Cutting a shell at exactly 12 atoms would need an order among equal distances, and the prediction would then depend on
the order of the atoms in the file.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres

from mat2spec.graphs.settings import GraphSettings

# Factor on the radius of a sphere that holds the neighbours on average; larger values need fewer passes but find too many.
FIRST_RADIUS_FACTOR = 1.15

_PERIODIC = np.array([1, 1, 1], dtype=np.int64)


class Edges(NamedTuple):
    """Links of the atoms of a crystal, ordered by centre, then distance; each of shape (n_edges,).

    `image` is the cell of the neighbour in lattice vectors, shape (n_edges, 3).
    """

    centre: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    distance: NDArray[np.float64]
    image: NDArray[np.float64]

    def vectors(self, positions: NDArray[np.float64], lattice: NDArray[np.float64]) -> NDArray[np.float64]:
        """From centre to neighbour, in the unit of the positions, shape (n_edges, 3)."""
        return positions[self.neighbour] + self.image @ lattice - positions[self.centre]


NO_EDGES = Edges(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty((0, 3)))


def nearest_shells(positions: NDArray[np.float64], lattice: NDArray[np.float64], settings: GraphSettings) -> Edges:
    """Neighbours of every atom: the nearest ones with the last shell complete.

    The search radius starts from the density and grows until it is certain to include the last shell
    of every atom, up to the cutoff, so a dense cell is not searched to the full cutoff.

    Parameters
    ----------
    positions
        Cartesian coordinates in Angstrom, shape (n, 3), C-contiguous.
    lattice
        Lattice vectors as rows in Angstrom, shape (3, 3), C-contiguous.
    settings
        Cutoff, number of neighbours, shell tolerance.

    Returns
    -------
    Edges
        Ordered by centre, then distance.
    """
    n_atoms, wanted, tolerance = len(positions), settings.n_neighbours, settings.shell_tolerance_a
    density = n_atoms / abs(np.linalg.det(lattice))
    radius = min(
        FIRST_RADIUS_FACTOR * (3 * (wanted + 1) / (4 * np.pi * density)) ** (1 / 3) + tolerance, settings.cutoff_a
    )
    while True:
        centre, neighbour, image, distance = find_points_in_spheres(
            positions, positions, r=float(radius), pbc=_PERIODIC, lattice=lattice, tol=1e-8
        )
        itself = (centre == neighbour) & ~image.any(axis=1)
        certain = np.bincount(centre[~itself & (distance <= radius - tolerance)], minlength=n_atoms)
        if radius >= settings.cutoff_a or certain.min() >= wanted:
            break
        radius = min(radius * 1.25, settings.cutoff_a)
    keep = np.flatnonzero(~itself)
    # A single key for centre, then distance: no distance exceeds the radius.
    order = keep[np.argsort(centre[keep] * (2 * radius) + distance[keep])]
    centre, neighbour, distance = centre[order], neighbour[order], distance[order]
    count = np.bincount(centre, minlength=n_atoms)
    last = np.cumsum(count) - count + wanted - 1
    limit = np.full(n_atoms, np.inf)
    full = count >= wanted
    limit[full] = distance[last[full]] + tolerance
    inside = distance <= limit[centre]
    return Edges(centre[inside], neighbour[inside], distance[inside], image[order[inside]])
