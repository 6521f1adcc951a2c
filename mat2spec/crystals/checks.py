"""The sentences that say why a crystal cannot be used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER

MIN_VOLUME_PER_ATOM_A3 = 1.0
MAX_VOLUME_PER_ATOM_A3 = 2000.0
MIN_DISTANCE_A = 0.5


def find_problems(crystals: Crystals) -> list[str | None]:
    """For each crystal the reason why no graph can be made of it, or None.

    Checked are what a look at the arrays can tell: sites, finite numbers, known elements, a
    lattice with a volume. Overlapping atoms show in the neighbour search
    (`mat2spec.graphs.build_graphs`).

    Returns
    -------
    list of str or None
        One sentence or None per crystal, length n_crystals.
    """
    n_sites = crystals.n_sites
    atom_crystal = np.repeat(np.arange(len(crystals)), n_sites)
    nan_atoms = _any_per_crystal(
        np.asarray(~np.isfinite(crystals.frac_coords).all(axis=1)), atom_crystal, len(crystals)
    )
    unknown = (crystals.atomic_numbers < 1) | (crystals.atomic_numbers > MAX_ATOMIC_NUMBER)
    unknown_element = _any_per_crystal(unknown, atom_crystal, len(crystals))
    nan_lattice = np.asarray(~np.isfinite(crystals.lattices).all(axis=(1, 2)))
    volumes = np.abs(np.linalg.det(np.where(nan_lattice[:, None, None], np.eye(3), crystals.lattices)))
    per_atom = volumes / np.maximum(n_sites, 1)

    checks: list[tuple[NDArray[np.bool_], str]] = [
        (
            nan_lattice & (n_sites == 0),
            "The row does not hold nine lattice numbers and three coordinates for every atomic number.",
        ),
        (n_sites == 0, "The crystal has no sites."),
        (nan_lattice, "The lattice contains numbers that are not finite."),
        (nan_atoms, "The coordinates contain numbers that are not finite."),
        (unknown_element, f"An atomic number is outside 1..{MAX_ATOMIC_NUMBER}: unknown element."),
        (
            per_atom < MIN_VOLUME_PER_ATOM_A3,
            f"The cell has less than {MIN_VOLUME_PER_ATOM_A3:g} cubic Angstrom per atom: flat lattice or wrong unit.",
        ),
        (
            per_atom > MAX_VOLUME_PER_ATOM_A3,
            f"The cell has more than {MAX_VOLUME_PER_ATOM_A3:g} cubic Angstrom per atom: isolated atoms rather than a crystal.",
        ),
    ]
    problems: list[str | None] = [None] * len(crystals)
    for failed, sentence in reversed(checks):
        for index in np.flatnonzero(failed):
            problems[index] = sentence
    return problems


def _any_per_crystal(flags: NDArray[np.bool_], crystal: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    return np.asarray(np.bincount(crystal[flags], minlength=size) > 0)
