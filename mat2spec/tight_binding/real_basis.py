"""A basis in which overlap and Hamiltonian are real: eigenproblems then cost less than half.

They are real as they stand at k-points that are half a reciprocal lattice vector. In a crystal with a centre of inversion
they are real at every k-point in combinations of the orbitals of an atom and of its image, as inversion followed by time
reversal keeps k.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.bloch_sums import Term

# Atoms closer than this are one; what is taken for real then differs from it by some 1e-6 eV.
_SAME_PLACE_A = 1e-6


class RealBasis:
    """Overlap and Hamiltonian as `TightBindingCrystal.matrices`, real where a real basis is known.

    With a centre of inversion the real basis functions of two atoms that are images of each other are shared between
    the two rows that the atoms have in the plain basis, so that sums over equivalent atoms are those of the atoms.

    Parameters
    ----------
    crystal
        The crystal.
    equal_orbits
        Whether all that is added to the matrices later is the same on equivalent atoms; without it inversion is no
        symmetry of the sum and is not used.
    dtype
        Precision of real numbers.
    """

    def __init__(self, crystal: TightBindingCrystal, *, equal_orbits: bool, dtype: torch.dtype) -> None:
        self.crystal = crystal
        self._sums = crystal.bloch_sums(dtype)
        images = images_by_inversion(crystal.cell) if equal_orbits else None
        terms = () if images is None else _terms_by_inversion(crystal, images)
        self._places = [self._sums.place(term) for term in terms]

    def matrices(self, kpoints: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """Overlap and Hamiltonian without on-site energies, each (n_kpoints, n_orbitals, n_orbitals).

        Parameters
        ----------
        kpoints
            Fractional coordinates, shape (n_kpoints, 3).
        """
        overlap, hopping = self._matrices(kpoints)
        torch.diagonal(overlap, dim1=1, dim2=2).add_(1)
        return overlap, hopping

    def _matrices(self, kpoints: NDArray[np.float64]) -> Tensor:
        crystal = self.crystal
        doubled = 2 * kpoints
        if np.abs(doubled - np.rint(doubled)).max() < 1e-9:
            return self._sums.real_matrices(torch.from_numpy(np.cos(2 * np.pi * (kpoints @ crystal.offsets.T))))
        if not self._places:
            phases = torch.from_numpy(2 * np.pi * (kpoints @ crystal.offsets.T))
            return self._sums.complex_matrices(phases.cos(), phases.sin())
        # The phase of a Bloch sum is that of the cell of the atom; inversion needs that of its position.
        places = crystal.cell.frac_coords
        vectors = crystal.offsets + places[crystal.second] - places[crystal.first]
        phases = torch.from_numpy(2 * np.pi * (kpoints @ vectors.T))
        return self._sums.combined(phases.cos(), phases.sin(), self._places)


def images_by_inversion(cell: PrimitiveCell) -> NDArray[np.int64] | None:
    """Image of each atom under an inversion of the crystal, an equivalent atom; None without inversion."""
    if not (cell.rotations == -np.eye(3, dtype=np.int64)).all(axis=(1, 2)).any():
        return None
    numbers, coordinates = cell.atomic_numbers, cell.frac_coords
    rarest = min(np.unique(cell.equivalent_atoms), key=lambda orbit: int((cell.equivalent_atoms == orbit).sum()))
    orbit = np.flatnonzero(cell.equivalent_atoms == rarest)
    for other in orbit:
        mirrored = coordinates[orbit[0]] + coordinates[other] - coordinates
        apart = mirrored[:, None] - coordinates
        distances = np.linalg.norm((apart - np.rint(apart)) @ cell.lattice, axis=2)
        images = distances.argmin(axis=1)
        is_symmetry = distances.min(axis=1).max() < _SAME_PLACE_A and (numbers[images] == numbers).all()
        if is_symmetry and (cell.equivalent_atoms[images] == cell.equivalent_atoms).all():
            return images
    return None


def _terms_by_inversion(crystal: TightBindingCrystal, images: NDArray[np.int64]) -> tuple[Term, ...]:
    """Elements between functions that inversion and complex conjugation leave as they are.

    Of an orbital and its image these are the sum and i times the difference, over the square root of two, where the
    image of an odd orbital has the other sign; of an orbital that is its own image, itself or i times itself. Either of
    the two orbitals of a function contributes the same to the real part of an element, and the opposite to the other.
    """
    basis = crystal.basis
    orbital = np.arange(basis.size)
    image = basis.first_orbital[images[basis.atom]] + orbital - basis.first_orbital[basis.atom]
    sign = np.where(basis.shell == 1, -1.0, 1.0)
    first, second = np.minimum(orbital, image), np.maximum(orbital, image)
    alone = orbital == image
    factor = np.where(orbital > image, 1j, 1.0) / np.sqrt(2)
    of_first = np.where(alone, np.where(sign > 0, 1.0, 1j), factor)
    of_second = np.where(alone, 0.0, sign * np.where(orbital > image, -factor, factor))
    of_rows = np.where(alone, 1.0, 2.0) * of_first
    return Term(first, first, of_rows, of_first), Term(first, second, of_rows, of_second)
