"""Hypothetical crystals beside those of a population: small ones with one element replaced by a similar one.

What the teacher says of a crystal costs no calculation, whether the crystal exists or not. Elements are similar that are
near each other in the order of Pettifor (Solid State Commun. 51, 31 (1984)); the volume changes as the sum of the mean atomic volumes.
No formula or prototype of a test set appears, nor a reserved formula, nor one of the population.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER
from mat2spec.crystals.prototypes import prototypes
from mat2spec.labels.reserved import reserved_formulas
from mat2spec.labels.splits import Part, Split, split_of_label
from scripts.distillation.population import Population

# Sites of the given cell up to which crystals are taken; places in the order up to which elements are similar.
LARGEST_CELL, FARTHEST = 12, 6


def similar_elements(present: NDArray[np.int64]) -> dict[int, list[int]]:
    """Of each of the given elements those of them that are at most `FARTHEST` places away in Pettifor's order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        order = sorted(present.tolist(), key=lambda number: float(Element.from_Z(number).mendeleev_no))
    return {
        number: [other for other in order[max(place - FARTHEST, 0) : place + FARTHEST + 1] if other != number]
        for place, number in enumerate(order)
    }


def atomic_volumes(crystals: Crystals) -> NDArray[np.float64]:
    """Mean volumes by atomic number in cubic Angstrom, from volumes of cells by least squares."""
    index = np.repeat(np.arange(len(crystals)), crystals.n_sites)
    counts = np.zeros((len(crystals), MAX_ATOMIC_NUMBER + 1))
    np.add.at(counts, (index, crystals.atomic_numbers), 1)
    shares = counts / crystals.n_sites[:, None]
    volumes = np.abs(np.linalg.det(crystals.lattices)) / crystals.n_sites
    found: NDArray[np.float64] = np.linalg.lstsq(shares, volumes, rcond=None)[0]
    return found.clip(min=1.0)


def substitute(crystals: Crystals, rng: np.random.Generator) -> Crystals:
    """Each crystal with one of its elements replaced by a similar one; the id says what for what."""
    similar = similar_elements(np.unique(crystals.atomic_numbers))
    volume_of = atomic_volumes(crystals)
    numbers, lattices, ids = crystals.atomic_numbers.copy(), crystals.lattices.copy(), crystals.material_ids.copy()
    for index in range(len(crystals)):
        sites = slice(crystals.offsets[index], crystals.offsets[index + 1])
        old = crystals.atomic_numbers[sites]
        leaving = int(rng.choice(np.unique(old)))
        coming = int(rng.choice(similar[leaving]))
        numbers[sites] = np.where(old == leaving, coming, old)
        lattices[index] *= np.cbrt(volume_of[numbers[sites]].sum() / volume_of[old].sum())
        ids[index] = f"{ids[index]} with {Element.from_Z(coming)} for {Element.from_Z(leaving)}"
    return Crystals(ids, numbers, crystals.frac_coords, lattices, crystals.offsets)


def choose_substituted(population: Population, reserved: set[str], count: int, seed: int = 0) -> Population:
    """At most `count` hypothetical crystals of training formulas and prototypes, none twice."""
    rng = np.random.default_rng(seed)
    small = np.flatnonzero((population.crystals.n_sites <= LARGEST_CELL) & (population.split == str(Split.TRAIN)))
    crystals = substitute(population.crystals.take(rng.choice(small, size=2 * count)), rng)
    formulas = np.array(ElementCounts.from_crystals(crystals).reduced_formulas(), dtype=object)
    new = np.flatnonzero(~np.isin(formulas, sorted(reserved | set(population.formulas.tolist()))))
    crystals, formulas = crystals.take(new), formulas[new]
    kinds = prototypes(crystals)
    split = np.array([split_of_label(f, p, Part.RANDOM) for f, p in zip(formulas, kinds, strict=True)], dtype=object)
    train = np.flatnonzero(split == Split.TRAIN)
    names = [f"{formulas[row]} {kinds[row]}" for row in train]
    kept = train[np.sort(np.unique(names, return_index=True)[1])][:count]
    return Population(
        crystals.take(kept),
        formulas[kept].astype(str),
        np.full(len(kept), np.nan, dtype=np.float32),
        split[kept].astype(str),
    )


def main() -> None:
    """Write the hypothetical crystals of a population."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("population", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=40_000)
    given = parser.parse_args()
    chosen = choose_substituted(Population.load(given.population), reserved_formulas(given.data), given.count)
    chosen.save(given.out)
    print(f"{len(chosen.formulas)} hypothetical crystals, {chosen.crystals.n_sites.mean():.1f} sites on average")


if __name__ == "__main__":
    main()
