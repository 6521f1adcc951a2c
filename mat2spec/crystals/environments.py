"""What surrounds the sites of crystals: the nearest neighbour of each element, and how firmly each element holds a site."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.contacts import covalent_radii
from mat2spec.crystals.pair_search import search_pairs
from mat2spec.crystals.spheres import crystal_of_atoms

# Neighbours are searched up to here, in Angstrom.
REACH_A = 6.0
# Length over which a bond loses its order, in Angstrom (Brown & Altermatt, Acta Cryst. B41, 244 (1985)).
_BOND_DECAY_A = 0.37
_SMALLEST_SUM = 1e-3
# Logarithms of distances over radii that differ by no more are equal: some radii are, as those of K and Pr.
_EQUAL = 1e-6
# Above all atomic numbers.
_MOST_ELEMENTS = 1000
# Crystals whose neighbours are in memory together.
_PIECE = 32

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Environments:
    """The surroundings of the sites of many crystals, up to `REACH_A`.

    Parameters
    ----------
    elements
        Atomic numbers that each crystal has, in order.
    volumes_a3
        Volume of each crystal in cubic Angstrom, shape (n,).
    site_element, site_crystal
        Atomic number and crystal of each site, shape (n_sites,).
    near_site, near_element, near_distance
        Site, atomic number and distance in Angstrom of the nearest neighbour of each element, in order of sites, shape (n_near,).
    near_orders
        Sum of exp(-d / 0.37 Angstrom) over all neighbours of this element, shape (n_near,).
    """

    elements: list[Integers]
    volumes_a3: Floats
    site_element: Integers
    site_crystal: Integers
    near_site: Integers
    near_element: Integers
    near_distance: Floats
    near_orders: Floats

    def __len__(self) -> int:
        return len(self.elements)

    @classmethod
    def of(cls, crystals: Crystals) -> Environments:
        """Those of crystals that `mat2spec.crystals.checks.find_problems` does not refuse, in compact cells."""
        chosen = [np.arange(start, min(start + _PIECE, len(crystals))) for start in range(0, len(crystals), _PIECE)]
        parts = [_nearest_of_each_element(crystals.take(rows)) for rows in chosen]
        first_site = [crystals.offsets[rows[0]] for rows in chosen]
        return cls(
            elements=[elements for part in parts for elements in part.elements],
            volumes_a3=crystals.volumes,
            site_element=crystals.atomic_numbers.astype(np.int64),
            site_crystal=crystal_of_atoms(crystals),
            near_site=np.concatenate(
                [np.empty(0, np.int64), *(part.sites + first for part, first in zip(parts, first_site, strict=True))]
            ),
            near_element=np.concatenate([np.empty(0, np.int64), *(part.near for part in parts)]),
            near_distance=np.concatenate([np.empty(0), *(part.distances for part in parts)]),
            near_orders=np.concatenate([np.empty(0), *(part.orders for part in parts)]),
        )

    def exchanged(self) -> tuple[Environments, Integers]:
        """Each crystal with every two of its elements in each other's places, and which crystal each of these was."""
        swaps = [
            (index, *pair) for index, found in enumerate(self.elements) for pair in combinations(found.tolist(), 2)
        ]
        owner, one, other = np.array(swaps, dtype=np.int64).reshape(-1, 3).T
        n_sites = np.bincount(self.site_crystal, minlength=len(self))
        n_near = np.bincount(self.site_crystal[self.near_site], minlength=len(self))
        sites, near = _ragged(n_sites, owner), _ragged(n_near, owner)
        crystal, of_near = (np.repeat(np.arange(len(owner)), counts[owner]) for counts in (n_sites, n_near))

        def swapped(numbers: Integers, swap: Integers) -> Integers:
            cases = [numbers == one[swap], numbers == other[swap]]
            return np.select(cases, [other[swap], one[swap]], numbers)

        first_site = np.cumsum(n_sites[owner]) - n_sites[owner]
        moved = first_site[of_near] - (np.cumsum(n_sites) - n_sites)[owner[of_near]]
        exchanged = Environments(
            [self.elements[index] for index in owner],
            self.volumes_a3[owner],
            swapped(self.site_element[sites], crystal),
            crystal,
            self.near_site[near] + moved,
            swapped(self.near_element[near], of_near),
            self.near_distance[near],
            self.near_orders[near],
        )
        return exchanged, owner

    @cached_property
    def pairs(self) -> tuple[Integers, Integers, Floats]:
        """Elements of site and neighbour of each `near_distance`, and the logarithm of that over their radii."""
        centre, other = self.site_element[self.near_site], self.near_element
        radii = covalent_radii()
        return centre, other, np.log(self.near_distance / (radii[centre] + radii[other]))

    def nearest(self) -> Integers:
        """Which of the near ones of each site is the nearest for its radii; -1 without any, shape (n_sites,)."""
        ratio = self.pairs[2]
        smallest = least_of_groups(ratio, self.near_site, len(self.site_element))
        chosen = np.flatnonzero(ratio <= smallest[self.near_site] + _EQUAL)
        found = np.full(len(self.site_element), -1, dtype=np.int64)
        # Of equal ones the lightest, whatever the order of the atoms.
        by_element = chosen[np.argsort(-self.near_element[chosen], kind="stable")]
        found[self.near_site[by_element]] = by_element
        return found

    def bond_sums(self, typical: Floats) -> Floats:
        """Logarithm of the sum of bond orders of each site, shape (n_sites,).

        Parameters
        ----------
        typical
            Logarithm of the usual nearest contact over the radii by elements, shape (N_ELEMENTS, N_ELEMENTS).
        """
        centre, other, radii = *self.pairs[:2], covalent_radii()
        usual = np.exp(typical) * (radii[:, None] + radii)
        orders = np.exp(usual / _BOND_DECAY_A)[centre, other] * self.near_orders
        return np.asarray(np.log(np.bincount(self.near_site, orders, len(self.site_element)) + _SMALLEST_SUM))


class _Surroundings(NamedTuple):
    """Those of some crystals, as in `Environments`."""

    elements: list[Integers]
    sites: Integers
    near: Integers
    distances: Floats
    orders: Floats


def _nearest_of_each_element(crystals: Crystals) -> _Surroundings:
    found = search_pairs(crystals, np.full(len(crystals), REACH_A))
    crystal = crystal_of_atoms(crystals)
    kinds, kind = np.unique(crystal * _MOST_ELEMENTS + crystals.atomic_numbers, return_inverse=True)
    numbers = kinds % _MOST_ELEMENTS
    first_kind = np.searchsorted(kinds, np.arange(len(crystals) + 1) * _MOST_ELEMENTS)
    # A place for every element of its crystal at each site.
    n_kinds = np.diff(first_kind)[crystal]
    first = np.cumsum(n_kinds) - n_kinds
    size = int(n_kinds.sum())
    place = (first - first_kind[crystal])[found.centre] + kind[found.neighbour]
    nearest = np.full(size, np.inf)
    np.minimum.at(nearest, place, found.distance_a)
    orders = np.asarray(np.bincount(place, np.exp(-found.distance_a / _BOND_DECAY_A), size), dtype=np.float64)
    there = np.flatnonzero(np.isfinite(nearest))
    sites = np.repeat(np.arange(len(crystal)), n_kinds)[there]
    near = numbers[there - first[sites] + first_kind[crystal[sites]]]
    elements = np.split(numbers, first_kind[1:-1])
    return _Surroundings(elements, sites, near, nearest[there], orders[there])


def least_of_groups(values: Floats, group: Integers, n: int) -> Floats:
    """Smallest value of each of n groups, infinite for an empty one; members stand together."""
    least = np.full(n, np.inf)
    if len(values):
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        least[group[starts]] = np.minimum.reduceat(values, starts)
    return least


def _ragged(lengths: Integers, rows: Integers) -> Integers:
    """Indices of the members of groups `rows`, one after the other, of groups with these lengths that lie in a row."""
    starts, chosen = np.cumsum(lengths) - lengths, lengths[rows]
    return np.repeat(starts[rows] - (np.cumsum(chosen) - chosen), chosen) + np.arange(chosen.sum())
