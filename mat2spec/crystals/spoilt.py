"""Impossible crystals, which a model of plausibility must not take for real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mat2spec.crystals.arrays import Crystals

_EXPANSION = 3.0


def with_other_elements(crystals: Crystals, seed: int = 0) -> Crystals:
    """Every element of each crystal replaced by another of those that any of the crystals has, drawn at random."""
    random, numbers = np.random.default_rng(seed), crystals.atomic_numbers.copy()
    known = np.unique(numbers)
    for index in range(len(crystals)):
        sites = crystals.sites(index)
        present, which = np.unique(numbers[sites], return_inverse=True)
        numbers[sites] = random.choice(np.setdiff1d(known, present), len(present), replace=False)[which]
    return replace(crystals, atomic_numbers=numbers)


def with_exchanged_elements(crystals: Crystals, seed: int = 0) -> Crystals:
    """Two elements of each crystal, drawn at random, in each other's places; crystals of one element are left out.

    Of some, such as rock salt, that is the same crystal, and of alloys often one as likely.
    """
    random, numbers = np.random.default_rng(seed), crystals.atomic_numbers.copy()
    several = []
    for index in range(len(crystals)):
        sites = crystals.sites(index)
        present = np.unique(numbers[sites])
        if len(present) > 1:
            one, other = random.choice(present, 2, replace=False)
            given = numbers[sites].copy()
            numbers[sites] = np.select([given == one, given == other], [other, one], given)
            several.append(index)
    return replace(crystals, atomic_numbers=numbers).take(several)


def with_random_positions(crystals: Crystals, seed: int = 0) -> Crystals:
    """Atoms at random places; crystals of one atom, which stay what they are, are left out."""
    positions = np.random.default_rng(seed).random(crystals.frac_coords.shape)
    return replace(crystals, frac_coords=positions).take(np.flatnonzero(crystals.n_sites > 1))


def expanded(crystals: Crystals, seed: int = 0) -> Crystals:  # noqa: ARG001  as the others
    """Three times the volume."""
    return replace(crystals, lattices=crystals.lattices * _EXPANSION ** (1 / 3))


WAYS_TO_SPOIL: dict[str, Callable[[Crystals, int], Crystals]] = {
    "other elements": with_other_elements,
    "exchanged elements": with_exchanged_elements,
    "random positions": with_random_positions,
    "three times the volume": expanded,
}
