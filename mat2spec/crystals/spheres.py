"""Neighbours of the atoms of many crystals within a sphere each, found once for all who ask for them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres

from mat2spec.crystals.arrays import Crystals

# Of the sphere that holds one atom on average: with some twenty neighbours in it, it nearly always shows the closest contact of a
# crystal and mostly the shells of its graph.
RADIUS_FACTOR = 2.7
LARGEST_RADIUS_A = 8.0
_PERIODIC = np.array([1, 1, 1], dtype=np.int64)


class Spheres(NamedTuple):
    """Pairs of neighbours, ordered by centre, images of an atom included.

    Parameters
    ----------
    centre, neighbour
        Atoms, numbered through all crystals, shape (n_pairs,).
    image
        Cell of the neighbour in lattice vectors, shape (n_pairs, 3).
    distance_a
        In Angstrom, shape (n_pairs,).
    radius_a
        Radius of the search in each crystal, zero where there was none, shape (n_crystals,).
    """

    centre: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    image: NDArray[np.float64]
    distance_a: NDArray[np.float64]
    radius_a: NDArray[np.float64]


def search_spheres(crystals: Crystals, chosen: NDArray[np.integer]) -> Spheres:
    """Search the chosen ones of some crystals.

    Parameters
    ----------
    crystals
        Not skewed (`mat2spec.crystals.compact`).
    chosen
        Positions, ascending, of those with finite numbers and a volume.
    """
    radius = np.zeros(len(crystals))
    volume_per_atom = np.abs(np.linalg.det(crystals.lattices[chosen])) / crystals.n_sites[chosen]
    radius[chosen] = np.minimum(RADIUS_FACTOR * (3 * volume_per_atom / (4 * np.pi)) ** (1 / 3), LARGEST_RADIUS_A)
    positions = cartesian_coordinates(crystals)
    pieces = []
    for index in chosen.tolist():
        atoms = positions[crystals.sites(index)]
        lattice = np.ascontiguousarray(crystals.lattices[index], dtype=np.float64)
        pieces.append(
            find_points_in_spheres(atoms, atoms, r=float(radius[index]), pbc=_PERIODIC, lattice=lattice, tol=1e-8)
        )
    if not pieces:
        return Spheres(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 3)), np.empty(0), radius)
    centre, neighbour, image, distance = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    first = np.repeat(crystals.offsets[chosen], [len(piece[0]) for piece in pieces])
    others = (centre != neighbour) | image.any(axis=1)
    return Spheres((centre + first)[others], (neighbour + first)[others], image[others], distance[others], radius)


def cartesian_coordinates(crystals: Crystals) -> NDArray[np.float64]:
    """In Angstrom, of the atoms moved into the cell, shape (n_atoms, 3)."""
    with np.errstate(invalid="ignore"):
        inside = crystals.frac_coords % 1.0
    return np.ascontiguousarray(np.einsum("ai,aij->aj", inside, np.repeat(crystals.lattices, crystals.n_sites, axis=0)))


def crystal_of_atoms(crystals: Crystals) -> NDArray[np.int64]:
    """Crystal of each atom, shape (n_atoms,)."""
    return np.repeat(np.arange(len(crystals)), crystals.n_sites)
