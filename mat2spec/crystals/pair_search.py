"""Pairs of atoms within a distance, of many crystals: for each one matrix product gives all squares of distances."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.optimization.neighbors import find_points_in_spheres

from mat2spec.crystals.arrays import Crystals

# Distances of a crystal that are in memory at once; one with more, huge or skewed, is left to pymatgen, which needs fewer.
MOST_DISTANCES = 2**21
_PERIODIC = np.ones(3, dtype=np.int64)
# In fractions of a lattice vector, so that rounding loses no image.
_MARGIN = 1e-9

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class NeighbourPairs(NamedTuple):
    """Pairs of neighbours from either end, ordered by centre, images of an atom included, but not the atom itself.

    Parameters
    ----------
    centre, neighbour
        Atoms, numbered through all crystals, shape (n_pairs,).
    cell
        Row of `cells` that the neighbour lies in, shape (n_pairs,).
    distance_a
        In Angstrom, shape (n_pairs,).
    cells
        Cells in lattice vectors, whole numbers, shape (n_cells, 3).
    """

    centre: Integers
    neighbour: Integers
    cell: Integers
    distance_a: Floats
    cells: Floats


class _Images(NamedTuple):
    """Atoms in all cells that a sphere around an atom of their crystal may reach, ordered by atom.

    `atom` and `cell` have a row for each image, `home` is the image of each atom in its own cell, `first` the first image of
    each crystal and one past the last.
    """

    atom: Integers
    cell: Floats
    home: Integers
    first: Integers


def search_pairs(crystals: Crystals, radius_a: Floats) -> NeighbourPairs:
    """All pairs of atoms of each crystal up to its radius, shape (n_crystals,).

    Parameters
    ----------
    crystals
        With finite numbers, sites and a volume, not skewed (`mat2spec.crystals.compact`).
    radius_a
        In Angstrom.
    """
    none = np.empty(0, np.int64)
    if not len(crystals):
        return NeighbourPairs(none, none, none, np.empty(0), np.empty((0, 3)))
    inside = crystals.frac_coords % 1.0
    low, counts, is_large = _cells_in_reach(crystals, inside, radius_a)
    images = _images_of(crystals, low, counts)
    centres, others = _factors(crystals, inside, images)
    centre, image, square = [none], [none], [np.empty(0)]
    for index in np.flatnonzero(~is_large).tolist():
        sites, near = crystals.sites(index), slice(*images.first[index : index + 2].tolist())
        squares = centres[sites] @ others[near].T
        close = squares <= radius_a[index] ** 2
        close[np.arange(len(squares)), images.home[sites] - near.start] = False
        places = np.flatnonzero(close)
        of_centre, of_image = np.divmod(places, near.stop - near.start)
        centre.append(of_centre + sites.start)
        image.append(of_image + near.start)
        square.append(squares.ravel()[places])
    found = np.concatenate(image)
    pairs = NeighbourPairs(
        np.concatenate(centre), images.atom[found], found, np.sqrt(np.concatenate(square).clip(min=0)), images.cell
    )
    for index in np.flatnonzero(is_large).tolist():
        pairs = _with(
            pairs, crystals.sites(index).start, _search_large(crystals, index, inside, float(radius_a[index]))
        )
    return pairs


def _cells_in_reach(
    crystals: Crystals, inside: Floats, radius_a: Floats
) -> tuple[Integers, Integers, NDArray[np.bool_]]:
    """First cell and number of cells along each lattice vector whose image of an atom may be near, shape (n_atoms, 3).

    And which crystals are too large for all distances of theirs to be in memory; for these it is the own cell alone.
    """
    first, n_sites = crystals.offsets[:-1], crystals.n_sites
    reach = radius_a[:, None] * np.linalg.norm(np.linalg.inv(crystals.lattices), axis=1) * (1 + _MARGIN) + _MARGIN
    lower, upper = (
        np.repeat(bound, n_sites, axis=0)
        for bound in (np.minimum.reduceat(inside, first) - reach, np.maximum.reduceat(inside, first) + reach)
    )
    low, counts = np.ceil(lower - inside), np.floor(upper - inside)
    counts += 1 - low
    is_large = n_sites * np.add.reduceat(counts.prod(axis=1), first) > MOST_DISTANCES
    of_large = np.repeat(is_large, n_sites)
    low[of_large], counts[of_large] = 0, 1
    return low.astype(np.int64), counts.astype(np.int64), is_large


def _images_of(crystals: Crystals, low: Integers, counts: Integers) -> _Images:
    n_images = counts.prod(axis=1)
    ends = np.concatenate([[0], np.cumsum(n_images)])
    atom = np.repeat(np.arange(len(low)), n_images)
    number, third = np.divmod(np.arange(ends[-1]) - ends[atom], counts[atom, 2])
    first, second = np.divmod(number, counts[atom, 1])
    cell = np.stack([first, second, third], axis=1) + low[atom]
    home = ends[:-1] - (low[:, 0] * counts[:, 1] + low[:, 1]) * counts[:, 2] - low[:, 2]
    return _Images(atom, cell.astype(np.float64), home, ends[crystals.offsets])


def _factors(crystals: Crystals, inside: Floats, images: _Images) -> tuple[Floats, Floats]:
    """Of atoms, shape (n_atoms, 5), and of images, whose products are the squares of distances, |a|2 - 2ab + |b|2."""
    crystal = np.repeat(np.arange(len(crystals)), crystals.n_sites)
    middle = np.add.reduceat(inside, crystals.offsets[:-1]) / crystals.n_sites[:, None]
    centred = inside - middle[crystal]
    factors = []
    for fractions, lattices in (
        (centred, crystals.lattices[crystal]),
        (centred[images.atom] + images.cell, crystals.lattices[crystal[images.atom]]),
    ):
        factor = np.ones((len(fractions), 5))
        np.einsum("ai,aij->aj", fractions, lattices, out=factor[:, :3])
        np.einsum("ai,ai->a", factor[:, :3], factor[:, :3], out=factor[:, 3])
        factors.append(factor)
    centres, others = factors
    others[:, :3] *= -2
    return centres, others[:, [0, 1, 2, 4, 3]]


def _search_large(crystals: Crystals, index: int, inside: Floats, radius_a: float) -> NeighbourPairs:
    """Pairs of one crystal, numbered from its first atom, by cells of space instead of all distances."""
    lattice = np.ascontiguousarray(crystals.lattices[index])
    atoms = np.ascontiguousarray(inside[crystals.sites(index)] @ lattice)
    centre, neighbour, cell, distance = find_points_in_spheres(
        atoms, atoms, r=radius_a, pbc=_PERIODIC, lattice=lattice, tol=1e-8
    )
    others = np.flatnonzero((centre != neighbour) | cell.any(axis=1))
    return NeighbourPairs(centre[others], neighbour[others], np.arange(len(others)), distance[others], cell[others])


def _with(pairs: NeighbourPairs, first_atom: int, more: NeighbourPairs) -> NeighbourPairs:
    """Pairs and those of one more crystal, in its place."""
    place = np.searchsorted(pairs.centre, first_atom)
    return NeighbourPairs(
        centre=np.insert(pairs.centre, place, more.centre + first_atom),
        neighbour=np.insert(pairs.neighbour, place, more.neighbour + first_atom),
        cell=np.insert(pairs.cell, place, more.cell + len(pairs.cells)),
        distance_a=np.insert(pairs.distance_a, place, more.distance_a),
        cells=np.concatenate([pairs.cells, more.cells]),
    )
