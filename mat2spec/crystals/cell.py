"""One crystal as three arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure


@dataclass(frozen=True)
class Cell:
    """A crystal as three arrays.

    Parameters
    ----------
    lattice
        Lattice vectors as rows, in Angstrom, shape (3, 3).
    frac_coords
        Fractional coordinates, shape (n_atoms, 3).
    atomic_numbers
        Shape (n_atoms,).
    """

    lattice: NDArray[np.float64]
    frac_coords: NDArray[np.float64]
    atomic_numbers: NDArray[np.int64]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.atomic_numbers)

    @property
    def volume(self) -> float:
        """Volume in cubic Angstrom."""
        return float(abs(np.linalg.det(self.lattice)))

    def as_tuple(self) -> Any:
        """The form used by spglib."""
        return self.lattice, self.frac_coords, self.atomic_numbers


def cell_of(structure: Structure) -> Cell:
    """Arrays of a pymatgen structure."""
    return Cell(
        np.asarray(structure.lattice.matrix, dtype=np.float64),
        np.asarray(structure.frac_coords, dtype=np.float64),
        np.asarray(structure.atomic_numbers, dtype=np.int64),
    )
