"""How unlike real crystals a crystal is, by its contacts, bonds and volume.

A model of spectra answers for any arrangement of atoms: the same lattice with other elements, atoms at random places,
three times the volume. What is wrong with these is geometry, and of that 150,000 crystals of the Materials Project tell
without any label. Of every site are compared, with sites of the same element there: its nearest contact and which
element that is, the first contact with every other element, and the sum of its bond orders exp((d0 - d) / 0.37
Angstrom) (Brown & Altermatt, Acta Cryst. B41, 244 (1985)); of the crystal its volume and which elements are together. A small
network that was taught to tell real crystals from spoilt ones makes one number of these;
`scripts/crystal_statistics.py` makes its file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from mat2spec.crystals import checks
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.compact import reduce_skewed_cells
from mat2spec.crystals.contacts import covalent_radii, neighbours_within
from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER

STATISTICS_FILE = Path(__file__).with_name("crystal_statistics.safetensors")
N_ELEMENTS = MAX_ATOMIC_NUMBER + 1
# Contacts are searched up to here, in Angstrom.
REACH_A = 6.0
# Length over which a bond loses its order, in Angstrom.
_BOND_DECAY_A = 0.37
_SMALLEST_SUM = 1e-3
# What stands for the contact of a site without one: far out, in standard deviations and as a logarithm of radii.
_FAR, _NEVER, _FAR_RATIO = 6.0, -3.0, 1.0
_LARGEST = 9.0
_LARGEST_STANDARD = 5.0
_MOST = 1e4
# Crystals whose contacts are held in memory together.
_BLOCK = 1024

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Contacts:
    """The neighbours of the sites of many crystals, up to `REACH_A`.

    Parameters
    ----------
    site_element, site_crystal
        Atomic number and crystal of each site, shape (n_sites,).
    bond_site, bond_element, bond_distance
        Site, atomic number of the neighbour and distance in Angstrom of all contacts, shape (n_bonds,).
    first
        Indices into these of the nearest neighbour of each element of each site, shape (n_first,).
    """

    site_element: Integers
    site_crystal: Integers
    bond_site: Integers
    bond_element: Integers
    bond_distance: Floats
    first: Integers

    @classmethod
    def of(cls, crystals: Crystals) -> Contacts:
        """Contacts of crystals that `mat2spec.crystals.checks.find_problems` does not refuse, in compact cells."""
        nothing = np.empty(0, np.int64)
        sites, elements, distances, first = [nothing], [nothing], [np.empty(0)], [nothing]
        n_bonds = 0
        for index in range(len(crystals)):
            atoms = crystals.sites(index)
            centre, neighbour, distance = neighbours_within(
                crystals.lattices[index], crystals.frac_coords[atoms], REACH_A
            )
            element = crystals.atomic_numbers[atoms][neighbour]
            sites.append(centre + atoms.start)
            elements.append(element)
            distances.append(distance)
            first.append(_first_of_each(centre * N_ELEMENTS + element, distance) + n_bonds)
            n_bonds += len(distance)
        crystal = np.repeat(np.arange(len(crystals)), crystals.n_sites)
        return cls(
            crystals.atomic_numbers,
            crystal,
            np.concatenate(sites),
            np.concatenate(elements),
            np.concatenate(distances),
            np.concatenate(first),
        )

    @property
    def first_pairs(self) -> tuple[Integers, Integers, Floats]:
        """Elements of site and neighbour of each first contact, and the logarithm of distance over radii."""
        centre, other = self.site_element[self.bond_site[self.first]], self.bond_element[self.first]
        radii = covalent_radii()
        return centre, other, np.log(self.bond_distance[self.first] / (radii[centre] + radii[other]))

    def nearest(self) -> Integers:
        """Which of the first contacts of each site is the shortest for its radii; -1 without any, shape (n_sites,)."""
        sites = self.bond_site[self.first]
        chosen = _first_of_each(sites, self.first_pairs[2])
        found = np.full(len(self.site_element), -1, dtype=np.int64)
        found[sites[chosen]] = chosen
        return found

    def bond_sums(self, typical: Floats) -> Floats:
        """Logarithm of the sum of bond orders of each site, shape (n_sites,).

        Parameters
        ----------
        typical
            Logarithm of the usual nearest contact over the radii by elements, shape (N_ELEMENTS, N_ELEMENTS).
        """
        centre, radii = self.site_element[self.bond_site], covalent_radii()
        usual = np.exp(typical[centre, self.bond_element]) * (radii[centre] + radii[self.bond_element])
        orders = np.exp((usual - self.bond_distance) / _BOND_DECAY_A)
        return np.asarray(np.log(np.bincount(self.bond_site, orders, len(self.site_element)) + _SMALLEST_SUM))


def _first_of_each(key: NDArray[np.integer], value: Floats) -> Integers:
    """Index of the smallest value of each key, in order of the keys; of equal ones the first."""
    # Contacts are many and the nearest few: only these are sorted.
    smallest = np.full(key.max(initial=-1) + 1, np.inf)
    np.minimum.at(smallest, key, value)
    chosen = np.flatnonzero(value == smallest[key])
    return chosen[np.unique(key[chosen], return_index=True)[1]]


@dataclass(frozen=True)
class Statistics:
    """What is usual among real crystals.

    Parameters
    ----------
    nearest_mean, nearest_std
        Of the logarithm of the nearest contact over the radii, by elements of site and neighbour, shape (N_ELEMENTS, N_ELEMENTS).
    affinity
        Logarithm of how much more often than by chance an element is nearest to another, same shape.
    first_mean, first_std
        As the first two, of the first contact with each element.
    together
        Logarithm of how much more often than by chance two elements are in one crystal, same shape.
    bond_mean, bond_std
        Of `Contacts.bond_sums` by element, shape (N_ELEMENTS,).
    volume
        Volume of an atom in cubic Angstrom by element, shape (N_ELEMENTS,).
    """

    nearest_mean: Floats
    nearest_std: Floats
    affinity: Floats
    first_mean: Floats
    first_std: Floats
    together: Floats
    bond_mean: Floats
    bond_std: Floats
    volume: Floats

    def describe(self, crystals: Crystals) -> Floats:
        """What distinguishes real crystals, shape (n, 23); crystals as for `Contacts.of`.

        Mean, least, largest value and standard deviation over the sites, so that the choice of the cell does not count.
        """
        contacts = Contacts.of(crystals)
        elements, crystal, n = contacts.site_element, contacts.site_crystal, len(crystals)
        centre, other, ratio = contacts.first_pairs
        nearest = contacts.nearest()
        alone, nearest = nearest < 0, np.maximum(nearest, 0)
        first = (ratio - self.first_mean[centre, other]) / self.first_std[centre, other]
        of_site = np.full(len(elements), _LARGEST)
        np.minimum.at(of_site, contacts.bond_site[contacts.first], first)
        if len(ratio):
            length = (ratio - self.nearest_mean[centre, other]) / self.nearest_std[centre, other]
            values = (length[nearest], self.affinity[centre, other][nearest], ratio[nearest])
        else:
            values = (np.zeros(len(elements)),) * 3
        length, affinity, plain = (
            np.where(alone, far, value) for far, value in zip((_FAR, _NEVER, _FAR_RATIO), values, strict=True)
        )
        bonds = (contacts.bond_sums(self.nearest_mean) - self.bond_mean[elements]) / self.bond_std[elements]
        columns = [_over_sites(value, crystal, n) for value in (length, affinity, of_site, bonds, plain)]
        return np.concatenate([*columns, self._of_composition(crystals, crystal)], axis=1)

    def _of_composition(self, crystals: Crystals, crystal: Integers) -> Floats:
        """Logarithm of the volume over the usual one, rarest pair of elements, number of elements; shape (n, 3)."""
        usual = np.bincount(crystal, self.volume[crystals.atomic_numbers], len(crystals))
        found = [np.unique(crystals.atomic_numbers[crystals.sites(index)]) for index in range(len(crystals))]
        rarest = [_rarest_pair(self.together, numbers) for numbers in found]
        return np.stack([np.log(crystals.volumes / usual), rarest, [len(numbers) for numbers in found]], axis=1)


def _rarest_pair(together: Floats, numbers: Integers) -> float:
    pairs = together[np.ix_(numbers, numbers)][np.triu_indices(len(numbers), 1)]
    return float(pairs.min()) if len(pairs) else 0.0


def _over_sites(values: Floats, crystal: Integers, n: int) -> Floats:
    """Mean, least, largest and standard deviation over the sites of each crystal, shape (n, 4)."""
    values = values.clip(-_LARGEST, _LARGEST)
    n_sites = np.bincount(crystal, minlength=n)
    mean = np.bincount(crystal, values, n) / n_sites
    least, largest = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(least, crystal, values)
    np.maximum.at(largest, crystal, values)
    variance = np.bincount(crystal, values**2, n) / n_sites - mean**2
    return np.stack([mean, least, largest, np.sqrt(variance.clip(min=0))], axis=1)


@dataclass(frozen=True)
class Plausibility:
    """Statistics, and the network that judges by them; tensors by name as in its file."""

    statistics: Statistics
    tensors: Mapping[str, Floats]

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Plausibility:
        """Take statistics and network from the tensors of a file."""
        known = {name: np.asarray(tensor, dtype=np.float64) for name, tensor in tensors.items()}
        names = Statistics.__dataclass_fields__
        statistics = Statistics(**{name: known[name] for name in names})
        return cls(statistics, {name: tensor for name, tensor in known.items() if name not in names})

    def implausibility(self, crystals: Crystals, problems: Sequence[str | None] | None = None) -> Floats:
        """How unlike real crystals each is, shape (n,); above one it is less usual than 97 % of them. NaN if it cannot be used.

        `problems` are those of `mat2spec.crystals.checks.find_problems`, where they are known.
        """
        scores = np.full(len(crystals), np.nan)
        problems = checks.find_problems(crystals) if problems is None else problems
        usable = np.flatnonzero([problem is None for problem in problems])
        compact = reduce_skewed_cells(crystals)
        for start in range(0, len(usable), _BLOCK):
            rows = usable[start : start + _BLOCK]
            scores[rows] = self.score(self.statistics.describe(compact.take(rows)))
        return np.asarray(np.exp((scores - self.tensors["limit"]).clip(max=np.log(_MOST))))

    def score(self, features: Floats) -> Floats:
        """Logarithm of the odds that crystals with these features are spoilt, shape (n,)."""
        mean, deviation = self.tensors["mean"], self.tensors["std"]
        values = ((features - mean) / deviation).clip(-_LARGEST_STANDARD, _LARGEST_STANDARD)
        for layer in (0, 1):
            values = values @ self.tensors[f"weight{layer}"].T + self.tensors[f"bias{layer}"]
            values = values / (1 + np.exp(-values))
        return np.asarray((values @ self.tensors["weight2"].T + self.tensors["bias2"])[:, 0])


@lru_cache(maxsize=1)
def shipped_plausibility() -> Plausibility:
    """What ships with the package."""
    return Plausibility.from_tensors(load_file(STATISTICS_FILE))
