"""How close the atoms of a crystal are to each other, relative to their covalent radii.

Wrong units of length, kinds of coordinates or elements show up here: almost all of 154,925 crystals of the Materials
Project have a closest contact between 0.6 and 1.3 sums of covalent radii, and reading the same numbers in Bohr instead
of Angstrom, or vice versa, changes that by a factor of 1.9.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element
from pymatgen.optimization.neighbors import find_points_in_spheres

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER
from mat2spec.crystals.spheres import Spheres, crystal_of_atoms

# Closest contacts, in sums of covalent radii, below and above which a crystal is unusual: of 60,000 crystals of the
# Materials Project 86 lie below the first and 26 above the second that are not noble gases; read in Bohr instead of Angstrom,
# 99 % of them lie above. Below the third, where 11 of them lie, a choice of symmetry is refused.
LOW_CONTACT_RATIO = 0.6
HIGH_CONTACT_RATIO = 1.3
MIN_CONTACT_RATIO = 0.5
# Contacts are searched up to this multiple of the sum of covalent radii.
REACH = 1.45
_PERIODIC = np.array([1, 1, 1], dtype=np.int64)
# Factor on the radius of a sphere that holds one atom: where the search for the closest contact starts.
_FIRST_RADIUS_FACTOR = 1.4


class Contact(NamedTuple):
    """The two atoms of a crystal that are closest to each other relative to their size.

    `ratio` is their distance over the sum of their covalent radii, `distance_a` the distance in Angstrom. Both are
    infinite where all atoms are farther than `REACH`.
    """

    ratio: float
    distance_a: float
    first: int
    second: int

    @property
    def elements(self) -> str:
        """Their symbols, as in "Na and Cl"."""
        return " and ".join(sorted(Element.from_Z(z).symbol for z in (self.first, self.second)))


NO_CONTACT = Contact(np.inf, np.inf, 0, 0)


@lru_cache(maxsize=1)
def covalent_radii() -> NDArray[np.float64]:
    """Covalent radii in Angstrom by atomic number (Cordero et al., Dalton Trans. 2008, 2832), shape (MAX_ATOMIC_NUMBER + 1,).

    Beyond curium, where no radii are tabulated, that of curium is used.
    """
    # With networkx behind it; programs that read no crystals do without.
    from pymatgen.analysis.molecule_structure_comparator import CovalentRadius

    radii = np.full(MAX_ATOMIC_NUMBER + 1, CovalentRadius.radius["Cm"])
    for z in range(1, MAX_ATOMIC_NUMBER + 1):
        radii[z] = CovalentRadius.radius.get(Element.from_Z(z).symbol, radii[z])
    return radii


def neighbours_within(
    lattice: NDArray[np.float64], frac_coords: NDArray[np.float64], radius_a: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Centre, neighbour and distance in Angstrom of all contacts, images of an atom included; each of shape (n_contacts,).

    Parameters
    ----------
    lattice
        Lattice vectors as rows in Angstrom, shape (3, 3), not skewed (`mat2spec.crystals.compact`).
    frac_coords
        Shape (n, 3).
    radius_a
        Longest distance.
    """
    cell = np.ascontiguousarray(lattice, dtype=np.float64)
    positions = np.ascontiguousarray((frac_coords % 1.0) @ cell)
    centre, neighbour, image, distance = find_points_in_spheres(
        positions, positions, r=float(radius_a), pbc=_PERIODIC, lattice=cell, tol=1e-8
    )
    others = (centre != neighbour) | image.any(axis=1)
    return centre[others], neighbour[others], distance[others]


def closest_contact(
    lattice: NDArray[np.float64], frac_coords: NDArray[np.float64], atomic_numbers: NDArray[np.int64]
) -> Contact:
    """The closest contact of a crystal, images of an atom included.

    Parameters
    ----------
    lattice
        Lattice vectors as rows in Angstrom, shape (3, 3), not skewed (`mat2spec.crystals.compact`).
    frac_coords
        Shape (n, 3).
    atomic_numbers
        Shape (n,), within `covalent_radii`.
    """
    radii = covalent_radii()[atomic_numbers.clip(0, MAX_ATOMIC_NUMBER)]
    farthest = 2 * radii.max() * REACH
    volume_per_atom = abs(np.linalg.det(lattice)) / len(frac_coords)
    radius = min(_FIRST_RADIUS_FACTOR * (3 * volume_per_atom / (4 * np.pi)) ** (1 / 3), farthest)
    while True:
        centre, neighbour, distance = neighbours_within(lattice, frac_coords, radius)
        ratios = distance / (radii[centre] + radii[neighbour])
        closest = ratios.min(initial=np.inf)
        needed = min(closest, REACH) * 2 * radii.max()
        # A closer contact, for their size, of two larger atoms may lie outside the sphere.
        if radius >= min(needed, farthest) * (1 - 1e-12):
            break
        radius = min(max(needed if closest < np.inf else 0.0, 1.25 * radius), farthest)
    if closest > REACH:
        return NO_CONTACT
    pair = int(ratios.argmin())
    return Contact(
        float(closest),
        float(distance[pair]),
        int(atomic_numbers[centre[pair]]),
        int(atomic_numbers[neighbour[pair]]),
    )


def closest_contacts(crystals: Crystals, chosen: NDArray[np.integer], spheres: Spheres) -> list[Contact]:
    """As `closest_contact`, of the chosen crystals, from what a search in spheres has found.

    Parameters
    ----------
    crystals
        Not skewed.
    chosen
        Positions of those that were searched.
    spheres
        What was found.
    """
    if not len(chosen):
        return []
    numbers = crystals.atomic_numbers
    radii = covalent_radii()[numbers.clip(0, MAX_ATOMIC_NUMBER)]
    pairs = spheres.pairs
    ratios = pairs.distance_a / (radii[pairs.centre] + radii[pairs.neighbour])
    pair = _first_smallest(ratios, crystal_of_atoms(crystals)[pairs.centre], len(crystals))
    closest = np.full(len(crystals), np.inf)
    closest[pair >= 0] = ratios[pair[pair >= 0]]
    occupied = crystals.n_sites > 0
    largest = np.zeros(len(crystals))
    largest[occupied] = np.maximum.reduceat(radii, crystals.offsets[:-1][occupied])
    needed = np.minimum(closest, REACH) * 2 * largest
    certain = spheres.radius_a >= needed * (1 - 1e-12)
    contacts = []
    for index in chosen.tolist():
        if not certain[index]:
            sites = crystals.sites(index)
            contacts.append(closest_contact(crystals.lattices[index], crystals.frac_coords[sites], numbers[sites]))
        elif closest[index] > REACH:
            contacts.append(NO_CONTACT)
        else:
            place = pair[index]
            first, second = int(numbers[pairs.centre[place]]), int(numbers[pairs.neighbour[place]])
            contacts.append(Contact(float(closest[index]), float(pairs.distance_a[place]), first, second))
    return contacts


def _first_smallest(values: NDArray[np.float64], group: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Place of the first of the smallest values of each group, -1 for empty ones; equal groups stand together."""
    places = np.full(n, -1)
    if len(values):
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        smallest = np.full(n, np.inf)
        smallest[group[starts]] = np.minimum.reduceat(values, starts)
        at = np.flatnonzero(values == smallest[group])
        groups, first = np.unique(group[at], return_index=True)
        places[groups] = at[first]
    return places
