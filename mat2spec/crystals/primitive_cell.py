"""The cell to be solved: primitive, with exact symmetry, whatever cell a crystal was given in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.cell import Cell
from mat2spec.crystals.symmetry import find_symmetry


@dataclass(frozen=True)
class PrimitiveCell(Cell):
    """A primitive cell and its symmetry.

    Parameters
    ----------
    rotations
        Point group in the basis of the lattice, integers, shape (n_operations, 3, 3).
    equivalent_atoms
        An atom of the same orbit, the same for all of them, shape (n_atoms,).
    """

    rotations: NDArray[np.int64]
    equivalent_atoms: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        lattice: NDArray[np.float64],
        frac_coords: NDArray[np.float64],
        atomic_numbers: NDArray[np.integer],
    ) -> PrimitiveCell:
        """Reduce a crystal to its standardised primitive cell.

        Spectra per atom are the same in both, so a supercell costs no more than its primitive cell. A crystal whose
        symmetry cannot be found, e.g. with two atoms at one position, is kept unchanged.
        """
        return cls.with_sites(lattice, frac_coords, atomic_numbers)[0]

    @classmethod
    def with_sites(
        cls,
        lattice: NDArray[np.float64],
        frac_coords: NDArray[np.float64],
        atomic_numbers: NDArray[np.integer],
    ) -> tuple[PrimitiveCell, NDArray[np.int64]]:
        """As `of`, and the atom of the primitive cell that each given one is."""
        numbers = np.asarray(atomic_numbers, dtype=np.int64)
        try:
            found = find_symmetry(Cell(lattice, frac_coords, numbers))
        except ValueError:
            as_given = np.arange(len(numbers))
            return cls(lattice, frac_coords, numbers, np.eye(3, dtype=np.int64)[None], as_given), as_given
        primitive = found.prim_std_cell
        site_in_primitive = np.array(found.mapping_std_prim, dtype=np.int64)
        if len(primitive.numbers) < len(numbers):
            # The group of a supercell may lack rotations of the crystal.
            cell, sites = cls.with_sites(
                np.array(primitive.basis), np.array(primitive.positions), np.array(primitive.numbers)
            )
            return cell, sites[site_in_primitive]
        to_primitive = np.array(found.prim_std_linear)
        given = np.array(found.operations.rotations, dtype=np.float64)
        rotations = np.rint(np.linalg.inv(to_primitive) @ given @ to_primitive).astype(np.int64)
        equivalent = np.zeros(len(primitive.numbers), dtype=np.int64)
        equivalent[site_in_primitive] = site_in_primitive[np.array(found.orbits)]
        cell = cls(
            np.array(primitive.basis),
            np.array(primitive.positions),
            np.array(primitive.numbers, dtype=np.int64),
            rotations,
            equivalent,
        )
        return cell, site_in_primitive

    @classmethod
    def of_crystal(cls, crystals: Crystals, index: int) -> PrimitiveCell:
        """Reduce one of several crystals."""
        cell = crystals.cell(index)
        return cls.of(cell.lattice, cell.frac_coords, cell.atomic_numbers)

    @classmethod
    def as_given(
        cls,
        lattice: NDArray[np.float64],
        frac_coords: NDArray[np.float64],
        atomic_numbers: NDArray[np.integer],
    ) -> PrimitiveCell:
        """The unchanged cell, with the symmetry of its lattice and its atoms in order."""
        numbers = np.asarray(atomic_numbers, dtype=np.int64)
        found = find_symmetry(Cell(lattice, frac_coords, numbers))
        rotations = np.unique(np.array(found.operations.rotations, dtype=np.int64), axis=0)
        return cls(lattice, frac_coords, numbers, rotations, np.array(found.orbits, dtype=np.int64))

    def average_equivalent(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over equivalent atoms of values with the atoms along the first axis."""
        mean, orbit = self._orbits
        means = mean.astype(values.dtype) @ values.reshape(self.n_atoms, -1)
        return means[orbit].reshape(values.shape)

    @cached_property
    def _orbits(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Weights of the atoms in the mean over each orbit, and the orbit of each atom."""
        groups, orbit = np.unique(self.equivalent_atoms, return_inverse=True)
        membership = np.arange(len(groups))[:, None] == orbit
        return membership / membership.sum(axis=1, keepdims=True), orbit
