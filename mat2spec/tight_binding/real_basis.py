"""A basis in which overlap and Hamiltonian are real: eigenproblems then cost less than half.

They are real as they stand at k-points that are half a reciprocal lattice vector. In a crystal with a centre of inversion
they are real at every k-point in combinations of the orbitals of an atom and of its image, as inversion followed by time
reversal keeps k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.tight_binding.bloch import TightBindingCrystal

# In Angstrom and, relative to 1 eV or an overlap of 1, the largest imaginary part that counts as rounding.
_SAME_PLACE_A, _SMALLEST_IMAGINARY = 1e-4, 1e-7
Matrices = NDArray[np.complex128] | NDArray[np.float64]


def matrices_at(
    crystal: TightBindingCrystal, kpoints: NDArray[np.float64], *, equal_orbits: bool
) -> tuple[Matrices, Matrices]:
    """Overlap and Hamiltonian as `TightBindingCrystal.matrices`, real where a real basis is known.

    With a centre of inversion the real basis functions of two atoms that are images of each other are shared between
    the two rows that the atoms have in the plain basis, so that sums over equivalent atoms are those of the atoms.

    Parameters
    ----------
    crystal
        The crystal.
    kpoints
        Fractional coordinates, shape (n_kpoints, 3).
    equal_orbits
        Whether all that is added to the matrices later is the same on equivalent atoms; without it inversion is no
        symmetry of the sum and is not used.
    """
    overlap, hopping = crystal.matrices(kpoints)
    doubled = 2 * kpoints
    if np.abs(doubled - np.rint(doubled)).max() < 1e-9:
        return overlap.real, hopping.real
    images = images_by_inversion(crystal.cell) if equal_orbits else None
    if images is None:
        return overlap, hopping
    change = _InversionBasis(crystal, images, kpoints)
    changed = change(overlap), change(hopping)
    if max(np.abs(matrix.imag).max() for matrix in changed) > _SMALLEST_IMAGINARY:
        return overlap, hopping
    return changed[0].real, changed[1].real


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


class _InversionBasis:
    """Change to functions that inversion and complex conjugation leave as they are.

    Of an orbital and its image these are the sum and i times the difference, over the square root of two, where the
    image of an odd orbital has the other sign; of an orbital that is its own image, itself or i times itself.
    """

    def __init__(self, crystal: TightBindingCrystal, images: NDArray[np.int64], kpoints: NDArray[np.float64]) -> None:
        basis = crystal.basis
        orbital = np.arange(basis.size)
        image = basis.first_orbital[images[basis.atom]] + orbital - basis.first_orbital[basis.atom]
        sign = np.where(basis.shell == 1, -1.0, 1.0)
        self.first, self.second = np.minimum(orbital, image), np.maximum(orbital, image)
        alone = orbital == image
        factor = np.where(orbital > image, 1j, 1.0) / np.sqrt(2)
        first = np.where(alone, np.where(sign > 0, 1.0, 1j), factor)
        second = np.where(alone, 0.0, sign * np.where(orbital > image, -factor, factor))
        # The phase of a Bloch sum is that of the cell of the atom; inversion needs that of its position.
        phases = np.exp(2j * np.pi * (kpoints @ crystal.cell.frac_coords.T))[:, basis.atom]
        self.of_first, self.of_second = first * phases[:, self.first], second * phases[:, self.second]

    def __call__(self, matrix: NDArray[np.complex128]) -> NDArray[np.complex128]:
        half = matrix[:, :, self.first] * self.of_first[:, None] + matrix[:, :, self.second] * self.of_second[:, None]
        changed: NDArray[np.complex128] = (
            self.of_first.conj()[:, :, None] * half[:, self.first]
            + self.of_second.conj()[:, :, None] * half[:, self.second]
        )
        return changed
