"""Compact cells, in which a neighbour search is affordable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals

# Product of the three lengths over the volume: 1.41 for the primitive face-centred cell, 130 for the most skewed cell of the
# Materials Project.
MAX_SKEWNESS = 200.0
# Tolerance for volumes before and after a reduction, which must be equal.
_VOLUME_TOLERANCE = 1e-6
# Of the squared length, so that rounding errors end the search.
_LEAST_GAIN = 1e-9
_MAX_STEPS = 1000


def skewness(lattices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Product of the lengths of the lattice vectors over the volume, shape (n,); 1 for right angles, infinite if flat.

    Parameters
    ----------
    lattices
        Lattice vectors as rows, shape (n, 3, 3), finite.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        skew = np.linalg.norm(lattices, axis=2).prod(axis=1) / np.abs(np.linalg.det(lattices))
    return np.where(np.isfinite(skew), skew, np.inf)


def reduce_skewed_cells(crystals: Crystals) -> Crystals:
    """The same crystals with skewed cells replaced by compact ones.

    The number of cells that a sphere touches grows with their skewness without bound: [[5, 0, 0], [1e5, 5, 0], [0, 0, 5]]
    is a cube of 5 Angstrom and takes minutes to search. A cell that cannot be made compact is kept, and
    `mat2spec.crystals.checks.find_problems` refuses it.
    """
    finite = np.asarray(np.isfinite(crystals.lattices).all(axis=(1, 2)))
    skewed = np.flatnonzero(
        finite & (skewness(np.where(finite[:, None, None], crystals.lattices, np.eye(3))) > MAX_SKEWNESS)
    )
    if not len(skewed):
        return crystals
    lattices, coordinates = crystals.lattices.copy(), crystals.frac_coords.copy()
    for index in skewed:
        reduced = _reduced(crystals.lattices[index])
        if reduced is not None:
            sites = crystals.sites(int(index))
            to_reduced = np.linalg.solve(reduced.T, crystals.lattices[index].T).T
            lattices[index], coordinates[sites] = reduced, crystals.frac_coords[sites] @ np.rint(to_reduced)
    return replace(crystals, frac_coords=coordinates, lattices=lattices)


def _reduced(lattice: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Short vectors of the same lattice (Minkowski); None if rounding errors prevent this."""
    vectors = np.array(lattice, dtype=np.float64)
    with np.errstate(all="ignore"):
        volume = abs(np.linalg.det(vectors))
        for _ in range(_MAX_STEPS):
            if not _shorten(vectors):
                break
        kept = abs(abs(np.linalg.det(vectors)) / volume - 1) <= _VOLUME_TOLERANCE
        return vectors if kept and skewness(vectors[None])[0] <= MAX_SKEWNESS else None


def _shorten(vectors: NDArray[np.float64]) -> bool:
    """Shorten vectors in place by integer multiples of the others; False if none can be shortened."""
    changed = False
    for index in range(3):
        first, second = (vectors[other] for other in range(3) if other != index)
        for step in (first, second, first + second, first - second):
            shorter = vectors[index] - np.rint(vectors[index] @ step / (step @ step)) * step
            if shorter @ shorter < (1 - _LEAST_GAIN) * (vectors[index] @ vectors[index]):
                vectors[index] = shorter
                changed = True
    return changed
