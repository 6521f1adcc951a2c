"""How unlike real crystals a crystal is, by its contacts, bonds, volume and charges.

A model of spectra answers for any arrangement of atoms: the same lattice with other elements, elements in each other's
places, atoms at random places, three times the volume. What is wrong with these is geometry, and of that 150,000 crystals
of the Materials Project tell without any label. Of every site are compared, with sites of the same element there: its nearest
contact and which element that is, the first contact with every other element, and the sum of its bond orders exp((d0 - d) / 0.37
Angstrom) (Brown & Altermatt, Acta Cryst. B41, 244 (1985)); of the crystal its volume, which elements are together, and
whether its charges can balance. A small network that was taught to tell real crystals from spoilt ones makes one number of
these; a second one says how much less plausible the crystal is than with two of its elements in each other's places, as
a wrong arrangement is seen best beside the right one. `scripts/crystal_statistics.py` makes their file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from mat2spec.crystals import checks
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.compact import reduce_skewed_cells
from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER
from mat2spec.crystals.environments import Environments, least_of_groups

STATISTICS_FILE = Path(__file__).with_name("crystal_statistics.safetensors")
N_ELEMENTS = MAX_ATOMIC_NUMBER + 1
# What stands for the contact of a site without one: far out, in standard deviations and as a logarithm of radii.
_FAR, _NEVER, _FAR_RATIO = 6.0, -3.0, 1.0
_LARGEST = 9.0
_LARGEST_STANDARD = 5.0
_MOST = 1e4
# Largest difference of features of crystals that are the same.
_SAME = 1e-6
# Gain of a crystal that has none to be compared with, and the largest that counts.
_USUAL_GAIN, _LARGEST_GAIN = -4.0, 8.0
# Sites whose contacts are held in memory together.
_SITES_AT_ONCE = 16_384

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


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
        Of `Environments.bond_sums` by element, shape (N_ELEMENTS,).
    volume
        Volume of an atom in cubic Angstrom by element, shape (N_ELEMENTS,).
    electronegativity
        Pauling's by element, shape (N_ELEMENTS,); zero where unknown.
    lowest_charge, least_charge, highest_charge
        Lowest, least positive and highest common oxidation state by element, shape (N_ELEMENTS,).
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
    electronegativity: Floats
    lowest_charge: Floats
    least_charge: Floats
    highest_charge: Floats

    def describe(self, around: Environments) -> Floats:
        """What distinguishes real crystals, shape (n, 28).

        Mean, least, largest value and standard deviation over the sites, so that the choice of the cell does not count.
        """
        elements, crystal, n = around.site_element, around.site_crystal, len(around)
        centre, other, ratio = around.pairs
        nearest = around.nearest()
        alone, nearest = nearest < 0, np.maximum(nearest, 0)
        first = (ratio - self.first_mean[centre, other]) / self.first_std[centre, other]
        of_site = least_of_groups(first, around.near_site, len(elements)).clip(max=_LARGEST)
        if len(ratio):
            length = (ratio - self.nearest_mean[centre, other]) / self.nearest_std[centre, other]
            values = (length[nearest], self.affinity[centre, other][nearest], ratio[nearest])
        else:
            values = (np.zeros(len(elements)),) * 3
        length, affinity, plain = (
            np.where(alone, far, value) for far, value in zip((_FAR, _NEVER, _FAR_RATIO), values, strict=True)
        )
        bonds = (around.bond_sums(self.nearest_mean) - self.bond_mean[elements]) / self.bond_std[elements]
        columns = [_over_sites(value, crystal, n) for value in (length, affinity, of_site, bonds, plain)]
        return np.concatenate([*columns, self._of_composition(around), self._of_charges(around)], axis=1)

    def describe_exchanged(self, around: Environments, features: Floats) -> tuple[Floats, Integers]:
        """Features of crystals with two of their elements in each other's places, and which crystal each of these was.

        Only where that is another crystal: rock salt with its elements exchanged is rock salt.

        Parameters
        ----------
        around, features
            The crystals and what `describe` says of them.
        """
        exchanged, owner = around.exchanged()
        others = self.describe(exchanged)
        changed = ~np.isclose(features[owner], others, rtol=0, atol=_SAME).all(axis=1)
        return others[changed], owner[changed]

    def _of_composition(self, around: Environments) -> Floats:
        """Logarithm of the volume over the usual one, rarest pair of elements, number of elements; shape (n, 3)."""
        usual = np.bincount(around.site_crystal, self.volume[around.site_element], len(around))
        found = {numbers.tobytes(): numbers for numbers in around.elements}
        rarest_of = {name: _rarest_pair(self.together, numbers) for name, numbers in found.items()}
        rarest = [rarest_of[numbers.tobytes()] for numbers in around.elements]
        n_elements = [len(numbers) for numbers in around.elements]
        return np.stack([np.log(around.volumes_a3 / usual), rarest, n_elements], axis=1)

    def _of_charges(self, around: Environments) -> Floats:
        """Charge of an atom if cations give most and if they give least, the anion's share, its electronegativity; shape (n, 5).

        The anion is the most electronegative element; the last column is how much more electronegative it is than the least.
        """
        elements, crystal, n = around.site_element, around.site_crystal, len(around)
        n_sites = np.bincount(crystal, minlength=n)
        negativity = self.electronegativity[elements]
        least, largest = least_of_groups(negativity, crystal, n), -least_of_groups(-negativity, crystal, n)
        is_anion = negativity == largest[crystal]
        charges = [
            np.bincount(crystal, np.where(is_anion, self.lowest_charge[elements], of_cation[elements]), n) / n_sites
            for of_cation in (self.highest_charge, self.least_charge)
        ]
        return np.stack([*charges, np.bincount(crystal, is_anion, n) / n_sites, largest, largest - least], axis=1)


@cache
def _pairs(n: int) -> tuple[Integers, Integers]:
    """Every pair of n things once, as two lists of places."""
    return np.triu_indices(n, 1)


def _rarest_pair(together: Floats, numbers: Integers) -> float:
    first, second = _pairs(len(numbers))
    pairs = together[numbers[first], numbers[second]]
    return float(pairs.min()) if len(pairs) else 0.0


def _over_sites(values: Floats, crystal: Integers, n: int) -> Floats:
    """Mean, least, largest and standard deviation over the sites of each crystal, shape (n, 4)."""
    values = values.clip(-_LARGEST, _LARGEST)
    n_sites = np.bincount(crystal, minlength=n)
    mean = np.bincount(crystal, values, n) / n_sites
    least, largest = least_of_groups(values, crystal, n), -least_of_groups(-values, crystal, n)
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
        block = np.cumsum(compact.n_sites[usable]) // _SITES_AT_ONCE
        for rows in np.split(usable, np.flatnonzero(np.diff(block)) + 1) if len(usable) else []:
            scores[rows] = self.judge(Environments.of(compact.take(rows)))
        return np.asarray(np.exp((scores - self.tensors["limit"]).clip(max=np.log(_MOST))))

    def judge(self, around: Environments) -> Floats:
        """Logarithm of the odds that crystals are spoilt, shape (n,)."""
        return np.asarray(self.opinions(around) @ self.tensors["opinion_weights"])

    def opinions(self, around: Environments) -> Floats:
        """Log-odds by the crystal alone, and how much more plausible it is with two elements exchanged at best; shape (n, 2)."""
        features = self.statistics.describe(around)
        alone = self.score(features)
        exchanged, owner = self.statistics.describe_exchanged(around, features)
        best = np.full(len(around), np.inf)
        np.minimum.at(best, owner, self.score(exchanged)[:, 1])
        gain = np.where(np.isfinite(best), alone[:, 1] - best, _USUAL_GAIN)
        return np.stack([alone[:, 0], gain.clip(-_LARGEST_GAIN, _LARGEST_GAIN)], axis=1)

    def score(self, features: Floats) -> Floats:
        """What the network says of these features, shape (n, 2): log-odds that the crystal is spoilt, and that its elements are."""
        mean, deviation = self.tensors["mean"], self.tensors["std"]
        values = ((features - mean) / deviation).clip(-_LARGEST_STANDARD, _LARGEST_STANDARD)
        for layer in (0, 1):
            values = values @ self.tensors[f"weight{layer}"].T + self.tensors[f"bias{layer}"]
            values = values / (1 + np.exp(-values))
        return np.asarray(values @ self.tensors["weight2"].T + self.tensors["bias2"])


@lru_cache(maxsize=1)
def shipped_plausibility() -> Plausibility:
    """What ships with the package."""
    return Plausibility.from_tensors(load_file(STATISTICS_FILE))
