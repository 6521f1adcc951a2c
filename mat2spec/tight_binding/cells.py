"""The cell that is solved: primitive, with exact symmetry, whatever cell a crystal was given in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import spglib
from numpy.typing import NDArray

SYMMETRY_TOLERANCE_A = 0.01


@dataclass(frozen=True)
class PrimitiveCell:
    """A primitive cell and its symmetry.

    Parameters
    ----------
    lattice
        Lattice vectors as rows, in Angstrom, shape (3, 3).
    frac_coords
        Shape (n_atoms, 3).
    atomic_numbers
        Shape (n_atoms,).
    rotations
        Point group in the basis of the lattice, integers, shape (n_operations, 3, 3).
    equivalent_atoms
        The first atom that each is equivalent to, shape (n_atoms,).
    """

    lattice: NDArray[np.float64]
    frac_coords: NDArray[np.float64]
    atomic_numbers: NDArray[np.int64]
    rotations: NDArray[np.int64]
    equivalent_atoms: NDArray[np.int64]

    @property
    def n_atoms(self) -> int:
        """Atoms in the primitive cell."""
        return len(self.atomic_numbers)

    @property
    def volume(self) -> float:
        """Volume in cubic Angstrom."""
        return float(abs(np.linalg.det(self.lattice)))

    @classmethod
    def of(
        cls,
        lattice: NDArray[np.float64],
        frac_coords: NDArray[np.float64],
        atomic_numbers: NDArray[np.integer],
        tolerance_a: float = SYMMETRY_TOLERANCE_A,
    ) -> PrimitiveCell:
        """Reduce a crystal to its standardised primitive cell; one in which spglib finds none is kept as it is.

        Spectra per atom are the same in both, so a supercell costs what its primitive cell costs.
        """
        found = spglib.standardize_cell(
            (lattice, frac_coords, atomic_numbers), to_primitive=True, no_idealize=False, symprec=tolerance_a
        )
        cell = (lattice, frac_coords, np.asarray(atomic_numbers)) if found is None else found
        dataset = spglib.get_symmetry_dataset(cell, symprec=tolerance_a)
        n_atoms = len(cell[2])
        return cls(
            np.asarray(cell[0], dtype=np.float64),
            np.asarray(cell[1], dtype=np.float64),
            np.asarray(cell[2], dtype=np.int64),
            np.eye(3, dtype=np.int64)[None] if dataset is None else np.unique(dataset.rotations, axis=0).astype(np.int64),
            np.arange(n_atoms) if dataset is None else np.asarray(dataset.equivalent_atoms, dtype=np.int64),
        )

    def average_equivalent(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Mean over equivalent atoms of values with the atoms along the first axis."""
        groups, inverse = np.unique(self.equivalent_atoms, return_inverse=True)
        membership = (np.arange(len(groups))[:, None] == inverse).astype(values.dtype)
        means = (membership / membership.sum(axis=1, keepdims=True)) @ values.reshape(self.n_atoms, -1)
        return means[inverse].reshape(values.shape)
