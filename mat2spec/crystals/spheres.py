"""Neighbours of the atoms of many crystals within a sphere each, found once for all who ask for them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.pair_search import NeighbourPairs, search_pairs

# Of the sphere that holds one atom on average: with some twenty neighbours in it, it nearly always shows the closest contact of a
# crystal and mostly the shells of its graph.
RADIUS_FACTOR = 2.7
LARGEST_RADIUS_A = 8.0


class Spheres(NamedTuple):
    """Pairs of neighbours (`mat2spec.crystals.pair_search`) of some crystals, its atoms numbered through all.

    `radius_a` is the radius of the search in each crystal in Angstrom, zero where there was none, shape (n_crystals,).
    """

    pairs: NeighbourPairs
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
    return Spheres(search_within(crystals, chosen, radius[chosen]), radius)


def search_within(crystals: Crystals, chosen: NDArray[np.integer], radius_a: NDArray[np.float64]) -> NeighbourPairs:
    """Pairs of the chosen ones of some crystals up to these radii in Angstrom, atoms numbered through all crystals."""
    part = crystals.take(chosen)
    pairs = search_pairs(part, radius_a)
    moved = np.repeat(crystals.offsets[chosen] - part.offsets[:-1], part.n_sites)
    return pairs._replace(centre=pairs.centre + moved[pairs.centre], neighbour=pairs.neighbour + moved[pairs.neighbour])


def cartesian_coordinates(crystals: Crystals) -> NDArray[np.float64]:
    """In Angstrom, of the atoms moved into the cell, shape (n_atoms, 3)."""
    with np.errstate(invalid="ignore"):
        inside = crystals.frac_coords % 1.0
    return np.ascontiguousarray(np.einsum("ai,aij->aj", inside, np.repeat(crystals.lattices, crystals.n_sites, axis=0)))


def crystal_of_atoms(crystals: Crystals) -> NDArray[np.int64]:
    """Crystal of each atom, shape (n_atoms,)."""
    return np.repeat(np.arange(len(crystals)), crystals.n_sites)
