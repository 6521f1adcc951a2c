"""Neighbours of the atoms of a crystal: the nearest ones, with the last shell complete.

Cutting a shell at exactly 12 atoms would need an order among equal distances, and the prediction would then depend on
the order of the atoms in the file.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.spheres import Spheres, crystal_of_atoms
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
    rows = keep[_last_shells(centre[keep], distance[keep], n_atoms, settings)]
    return Edges(centre[rows], neighbour[rows], distance[rows], image[rows])


def shells_in_spheres(
    crystals: Crystals, chosen: NDArray[np.integer], spheres: Spheres, settings: GraphSettings
) -> list[Edges | None]:
    """As `nearest_shells`, of some crystals, from what a search in spheres has found; None where that is not certain.

    Parameters
    ----------
    crystals
        Not skewed.
    chosen
        Positions of those that were searched.
    spheres
        What was found.
    settings
        Cutoff, number of neighbours, shell tolerance.
    """
    if not len(chosen):
        return []
    n_atoms, crystal = len(crystals.atomic_numbers), crystal_of_atoms(crystals)
    pairs = spheres.pairs
    near = np.flatnonzero(pairs.distance_a <= settings.cutoff_a)
    centre, distance = pairs.centre[near], pairs.distance_a[near]
    safe = (spheres.radius_a - settings.shell_tolerance_a)[crystal[centre]]
    enough = np.bincount(centre[distance <= safe], minlength=n_atoms) >= settings.n_neighbours
    is_certain = np.bincount(crystal[~enough], minlength=len(crystals)) == 0
    is_certain |= spheres.radius_a >= settings.cutoff_a
    rows = near[_last_shells(centre, distance, n_atoms, settings)]
    ends = np.searchsorted(pairs.centre[rows], crystals.offsets)
    found: list[Edges | None] = []
    for index in chosen.tolist():
        part, first = rows[ends[index] : ends[index + 1]], crystals.offsets[index]
        edges = Edges(
            pairs.centre[part] - first,
            pairs.neighbour[part] - first,
            pairs.distance_a[part],
            pairs.cells[pairs.cell[part]],
        )
        found.append(edges if is_certain[index] else None)
    return found


def _last_shells(
    centre: NDArray[np.int64], distance: NDArray[np.float64], n_atoms: int, settings: GraphSettings
) -> NDArray[np.int64]:
    """Places of the pairs up to the last shell of each centre, ordered by centre, then distance."""
    # A single key for centre, then distance.
    order = np.argsort(centre * (2 * distance.max(initial=1.0)) + distance)
    centre, distance = centre[order], distance[order]
    count = np.bincount(centre, minlength=n_atoms)
    last = np.cumsum(count) - count + settings.n_neighbours - 1
    limit = np.full(n_atoms, np.inf)
    full = count >= settings.n_neighbours
    limit[full] = distance[last[full]] + settings.shell_tolerance_a
    return order[distance <= limit[centre]]
