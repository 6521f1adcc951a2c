"""Charge self-consistency: the electrostatic potential of the atomic charges.

Each atom carries a Gaussian charge whose self-repulsion is its Hubbard U (Elstner et al., Phys. Rev. B 58, 7260
(1998)); the sums over the lattice are Ewald's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import erf

from mat2spec.crystals.neighbours import find_neighbours
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.charge_response import FilledBands
from mat2spec.tight_binding.eigenproblem import orthogonalise
from mat2spec.tight_binding.kmesh import make_mesh
from mat2spec.tight_binding.real_basis import RealBasis

COULOMB_EV_A = 14.399645
# Width of the Gaussians that the reciprocal sum carries, in Angstrom.
_EWALD_WIDTH_A = 1.4
_TOLERANCE = 1e-3
_STEPS = 20
_HISTORY = 4
# Factor on a step that made things worse; share of the error above which the response is computed anew.
_SHORTER, _SLOW = 1 / 3, 0.5
# An error below the first is taken to shrink in the next step as it did in the last, within the second as a factor: the
# bands that would show it are then not solved.
_NEAR, _SAFETY = 0.02, 3.0
KPOINTS_PER_ATOM = 50.0


@dataclass(frozen=True)
class SelfConsistentCharges:
    """Converged charges.

    Parameters
    ----------
    potentials_ev
        Shift of the levels of each atom, shape (n_atoms,).
    charges
        Electrons gained by each atom, shape (n_atoms,).
    steps
        Iterations that were made.
    converged
        Whether their error is expected to be below 0.001 after the last.
    """

    potentials_ev: NDArray[np.float64]
    charges: NDArray[np.float64]
    steps: int
    converged: bool


def coulomb_matrix(cell: PrimitiveCell, hubbard_u_ev: NDArray[np.float64]) -> NDArray[np.float64]:
    """Energy in eV between unit charges on each pair of atoms and all their images, for neutral cells.

    Parameters
    ----------
    cell
        The crystal.
    hubbard_u_ev
        Self-repulsion of the charge of each atom, shape (n_atoms,).
    """
    width = np.minimum(COULOMB_EV_A / (hubbard_u_ev * np.sqrt(np.pi)), _EWALD_WIDTH_A)
    matrix = _reciprocal_sum(cell)
    first, second, _, distance = find_neighbours(cell.lattice, cell.frac_coords, 6.2 * _EWALD_WIDTH_A)
    between = np.sqrt(2 * (width[first] ** 2 + width[second] ** 2))
    short = (erf(distance / between) - erf(distance / (2 * _EWALD_WIDTH_A))) / distance
    np.add.at(matrix, (first, second), short)
    own = np.arange(cell.n_atoms)
    matrix[own, own] += (1 / width - 1 / _EWALD_WIDTH_A) / np.sqrt(np.pi)
    return COULOMB_EV_A * matrix


def self_consistent_charges(
    crystal: TightBindingCrystal, kpoints_per_atom: float = KPOINTS_PER_ATOM, basis: RealBasis | None = None
) -> SelfConsistentCharges:
    """Iterate Mulliken charges and their potential to self-consistency.

    Newton steps with the response of the charges, of which later ones learn from earlier ones (Anderson mixing).

    Parameters
    ----------
    crystal
        The crystal.
    kpoints_per_atom
        Density of the mesh: charges converge long before spectra do.
    basis
        Where the matrices are real, if it is known and in single precision.
    """
    n_atoms, cell = crystal.basis.n_atoms, crystal.cell
    if n_atoms == 1:
        return SelfConsistentCharges(np.zeros(1), np.zeros(1), 0, converged=True)
    coulomb = coulomb_matrix(cell, crystal.hubbard_u_ev)
    if basis is None:
        # Single precision is far finer than the tolerance of the charges, which are the same on equivalent atoms.
        basis = RealBasis(crystal, equal_orbits=True, dtype=torch.float32)
    bands_of = _ShiftedBands(basis, kpoints_per_atom)
    charges = start = np.zeros(n_atoms)
    inputs: list[NDArray[np.float64]] = []
    residuals: list[NDArray[np.float64]] = []
    previous = np.inf
    for step in range(_STEPS):
        bands = bands_of(coulomb @ charges)
        residual = bands.charges() - charges
        error = float(np.abs(residual).max())
        if error > previous:
            # Too far: the same direction, a shorter step.
            charges = start + _SHORTER * (charges - start)
            continue
        if step == 0 and error < _TOLERANCE:
            return SelfConsistentCharges(coulomb @ charges, charges, step, converged=True)
        if error > _SLOW * previous or step == 0:
            newton = np.asarray(np.linalg.inv(np.eye(n_atoms) - bands.response() @ coulomb))
            inputs, residuals = [], []
        start, inputs, residuals = charges, [*inputs, charges][-_HISTORY:], [*residuals, residual][-_HISTORY:]
        charges = cell.average_equivalent(_next_charges(inputs, residuals, newton))
        if step > 0 and _is_last(error, previous):
            return SelfConsistentCharges(coulomb @ charges, charges, step, converged=True)
        previous = error
    return SelfConsistentCharges(coulomb @ start, start, _STEPS, converged=False)


class _ShiftedBands:
    """Bands of a crystal in a given potential of its atoms."""

    def __init__(self, basis: RealBasis, kpoints_per_atom: float) -> None:
        crystal = self.crystal = basis.crystal
        mesh = make_mesh(crystal.cell, kpoints_per_atom)
        self.weights = torch.from_numpy(mesh.weights).float()
        overlap, hopping = basis.matrices(mesh.kpoints)
        torch.diagonal(hopping, dim1=1, dim2=2).add_(torch.from_numpy(crystal.basis.on_site_ev))
        self.orthogonaliser = orthogonalise(overlap)
        self.reduced = self.orthogonaliser.reduced(hopping)

    def __call__(self, potentials_ev: NDArray[np.float64]) -> FilledBands:
        shift = torch.from_numpy(potentials_ev[self.crystal.basis.atom]).float()
        solved = self.orthogonaliser.eigh(self.reduced + self.orthogonaliser.reduced_potential(shift))
        return FilledBands(self.crystal, self.weights, self.orthogonaliser, *solved)


def _is_last(error: float, previous: float) -> bool:
    """Whether the step from charges of this error, after one from those of the previous error, needs no other."""
    return error < _TOLERANCE or (error < _NEAR and _SAFETY * error**2 / previous < _TOLERANCE)


def _next_charges(
    inputs: list[NDArray[np.float64]], residuals: list[NDArray[np.float64]], newton: NDArray[np.float64]
) -> NDArray[np.float64]:
    current, residual = inputs[-1], residuals[-1]
    if len(inputs) == 1:
        return current + newton @ residual
    differences = np.array([residual - old for old in residuals[:-1]])
    factors = np.linalg.lstsq(differences.T, residual, rcond=1e-4)[0]
    steps = np.array([current - old for old in inputs[:-1]])
    return current - factors @ steps + newton @ (residual - factors @ differences)


def _reciprocal_sum(cell: PrimitiveCell) -> NDArray[np.float64]:
    reciprocal = 2 * np.pi * np.linalg.inv(cell.lattice).T
    largest = 4.6 / _EWALD_WIDTH_A
    counts = np.ceil(largest * np.linalg.norm(cell.lattice, axis=1) / (2 * np.pi)).astype(int)
    axes = [np.arange(-count, count + 1) for count in counts]
    indices = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    squares = ((indices @ reciprocal) ** 2).sum(axis=1)
    # Of each vector and its opposite, one.
    chosen = (squares > 1e-9) & (squares < largest**2) & (np.arange(len(squares)) < len(squares) // 2)
    indices, squares = indices[chosen], squares[chosen]
    phases = 2 * np.pi * (cell.frac_coords @ indices.T)
    weights = 8 * np.pi / cell.volume * np.exp(-squares * _EWALD_WIDTH_A**2) / squares
    parts = np.concatenate([np.cos(phases), np.sin(phases)], axis=1)
    return np.asarray((parts * np.tile(weights, 2)) @ parts.T)
