"""Atoms of a cell as images of a few of them: what is computed at one atom follows for its images by a rotation.

Only proper rotations count, since SevenNet tells left from right: two atoms that only a reflection or an inversion maps
on each other are two representatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.primitive_cell import PrimitiveCell

# Atoms closer than this are one; standard cells have their symmetry exactly.
_SAME_PLACE_A = 1e-4


@dataclass(frozen=True)
class SiteImages:
    """Which atom each atom is an image of.

    Parameters
    ----------
    representatives
        Atoms of which all others are images, shape (n_representatives,).
    row
        Row of the representative of each atom, shape (n_atoms,).
    rotations
        Cartesian rotation that takes the surroundings of the representative to those of the atom, shape (n_atoms, 3, 3).
    """

    representatives: NDArray[np.int64]
    row: NDArray[np.int64]
    rotations: NDArray[np.float64]

    @classmethod
    def each_its_own(cls, n_atoms: int) -> SiteImages:
        """No atom is an image of another."""
        atoms = np.arange(n_atoms)
        return cls(atoms, atoms, np.broadcast_to(np.eye(3), (n_atoms, 3, 3)))

    @classmethod
    def of(cls, cell: PrimitiveCell) -> SiteImages:
        """Images under the proper rotations of the space group."""
        proper = cell.rotations[np.linalg.det(cell.rotations) > 0]
        orbits, sizes = np.unique(cell.equivalent_atoms, return_counts=True)
        if len(proper) == 1 or len(orbits) == cell.n_atoms:
            return cls.each_its_own(cell.n_atoms)
        row, operation = np.full(cell.n_atoms, -1), np.zeros(cell.n_atoms, dtype=np.int64)
        # The identity comes first: a representative is its own image under it.
        order = np.argsort([(rotation != np.eye(3)).any() for rotation in proper], kind="stable")
        rotations = proper[order]
        rarest = np.flatnonzero(cell.equivalent_atoms == orbits[sizes.argmin()])
        images = [_images(cell, rotation, rarest) for rotation in rotations]
        representatives = []
        for number in count():
            left = np.flatnonzero(row < 0)
            if not len(left):
                break
            representatives.append(left[0])
            for index, image in enumerate(images):
                if image is not None and row[image[left[0]]] < 0:
                    row[image[left[0]]], operation[image[left[0]]] = number, index
        inverse = np.linalg.inv(cell.lattice)
        cartesian = np.array([(inverse @ rotation.T @ cell.lattice).T for rotation in rotations])
        return cls(np.array(representatives), row, cartesian[operation])


def _images(cell: PrimitiveCell, rotation: NDArray[np.int64], orbit: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Image of each atom under the operation of the space group with this rotation; None if none is found.

    Any orbit of equivalent atoms does: the operation takes its first atom to one of its atoms.
    """
    numbers, places = cell.atomic_numbers, cell.frac_coords
    turned = places @ rotation.T
    for other in orbit:
        apart = (turned + places[other] - turned[orbit[0]])[:, None] - places
        distances = np.linalg.norm((apart - np.rint(apart)) @ cell.lattice, axis=2)
        images = distances.argmin(axis=1)
        if distances.min(axis=1).max() < _SAME_PLACE_A and (numbers[images] == numbers).all():
            return np.asarray(images)
    return None
