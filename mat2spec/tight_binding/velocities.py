"""Velocities of corrected bands by the theorem of Hellmann and Feynman.

The derivative of an energy by the wave vector is c* (dH/dk - E dS/dk) c, with matrices that are differentiated term by term in
their Bloch sums. Where bands meet, the eigenvectors of a degenerate level are arbitrary, but the trace of the product of two
components of the velocity over the level is not: products are therefore summed over the bands of equal energy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.eigenproblem import Bands, orthogonalise, solve
from mat2spec.tight_binding.problem import Problem
from mat2spec.tight_binding.real_basis import RealBasis

# Energies in eV that are one level.
_SAME_LEVEL_EV = 1e-4
# k-points that are solved together, and elements of one matrix for all of them: some twenty such are held at a time.
_MOST_POINTS, _MOST_ELEMENTS = 256, 500_000


@dataclass(frozen=True)
class CorrectedCrystal:
    """A crystal with corrections, to be solved at any k-points.

    Parameters
    ----------
    crystal
        Its blocks.
    problem
        The same crystal, for its potentials and electrons.
    shifts_ev, scales
        Corrections, the same on equivalent atoms: shape (n_spins, 3 x n_atoms) and (3 x n_atoms,).
    """

    crystal: TightBindingCrystal
    problem: Problem
    shifts_ev: Tensor
    scales: Tensor

    @property
    def cell(self) -> PrimitiveCell:
        """The primitive cell."""
        return self.crystal.cell

    def energies(self, kpoints: NDArray[np.float64]) -> NDArray[np.float64]:
        """Energies of all bands in eV, shape (n_spins, n_kpoints, n_bands)."""
        parts = []
        basis = RealBasis(self.crystal, equal_orbits=True, dtype=torch.float64)
        for chosen in self._chunks(len(kpoints)):
            at_points = self._problem_at(*basis.matrices(kpoints[chosen]))
            parts.append([self._solve(at_points, spin).energies for spin in range(len(self.shifts_ev))])
        return torch.stack([torch.cat(of_spin) for of_spin in zip(*parts, strict=True)]).numpy()

    def states(self, kpoints: NDArray[np.float64], windows_ev: NDArray[np.float64]) -> MovingStates:
        """Bands with energies in some windows, and their velocities.

        Parameters
        ----------
        kpoints
            Fractional coordinates, shape (n_kpoints, 3).
        windows_ev
            Lowest and highest energy of each window, shape (n_windows, 2).
        """
        found = []
        for chosen in self._chunks(len(kpoints)):
            at_points = self._problem_at(*map(torch.from_numpy, self.crystal.matrices(kpoints[chosen])))
            for spin in range(len(self.shifts_ev)):
                bands = self._solve(at_points, spin)
                near = torch.zeros(bands.energies.shape, dtype=torch.bool)
                for low, high in windows_ev:
                    near |= (bands.energies > low) & (bands.energies < high)
                products = self._velocity_products(at_points, kpoints[chosen], bands, near, spin)
                found.append((bands.energies[near], chosen.start + near.nonzero()[:, 0], products))
        levels, points, products_of_all = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        return MovingStates(levels, points, products_of_all)

    def _chunks(self, n_kpoints: int) -> list[slice]:
        """K-points whose matrices fit into memory together."""
        at_once = min(_MOST_POINTS, max(1, _MOST_ELEMENTS // self.crystal.basis.size**2))
        return [slice(start, start + at_once) for start in range(0, n_kpoints, at_once)]

    def _problem_at(self, overlap: Tensor, hopping: Tensor) -> Problem:
        known = self.problem
        return replace(
            known,
            overlap=overlap,
            hopping=hopping,
            orthogonaliser=orthogonalise(overlap),
            weights=torch.full((len(overlap),), 1 / len(overlap), dtype=torch.float64),
            on_site_ev=known.on_site_ev.double().cpu(),
            potentials_ev=known.potentials_ev.double().cpu(),
            site_shells=known.site_shells.double().cpu(),
        )

    def _hamiltonian(self, at_points: Problem, spin: int) -> Tensor:
        return at_points.hamiltonian(self.shifts_ev[spin].double().cpu(), self.scales.double().cpu())

    def _solve(self, at_points: Problem, spin: int) -> Bands:
        return solve(self._hamiltonian(at_points, spin), at_points.orthogonaliser)

    def _velocity_products(
        self, at_points: Problem, kpoints: NDArray[np.float64], bands: Bands, near: Tensor, spin: int
    ) -> Tensor:
        here = near.any(dim=1)
        if not bool(here.any()):
            return torch.zeros((0, 3, 3), dtype=torch.float64)
        used = near.any(dim=0).nonzero()[:, 0]
        columns = slice(int(used[0]), int(used[-1]) + 1)
        overlap, hopping = (torch.from_numpy(matrix) for matrix in self.crystal.gradients(kpoints[here.numpy()]))
        no_levels = torch.zeros_like(at_points.on_site_ev)
        by_k = self._hamiltonian(replace(at_points, overlap=overlap, hopping=hopping, on_site_ev=no_levels), spin)
        states, energies = bands.coefficients[here][:, :, columns], bands.energies[here][:, columns]
        middle = (energies[:, :, None] + energies[:, None, :]) / 2
        velocities = states.mH @ by_k @ states - middle * (states.mH @ overlap @ states)
        one_level = (energies[:, :, None] - energies[:, None, :]).abs() < _SAME_LEVEL_EV
        products = torch.einsum("xkij,ykij,kij->kixy", velocities, velocities.conj(), one_level.to(velocities.dtype))
        return products.real[near[here][:, columns]]


@dataclass(frozen=True)
class MovingStates:
    """States of energies near those of interest.

    Parameters
    ----------
    levels_ev
        Their energies, shape (n_states,).
    points
        Their k-points, shape (n_states,).
    products
        Products of the components of the derivative of the energy by the Cartesian wave vector, in eV² Angstrom², shape
        (n_states, 3, 3): means over the bands of a degenerate level have the trace of the level.
    """

    levels_ev: NDArray[np.float64]
    points: NDArray[np.int64]
    products: NDArray[np.float64]


def average_over_group(tensors: NDArray[np.float64], cell: PrimitiveCell) -> NDArray[np.float64]:
    """Mean of Cartesian tensors, shape (n, 3, 3), over the point group of a crystal."""
    to_cartesian = cell.lattice.T
    rotations = to_cartesian @ cell.rotations @ np.linalg.inv(to_cartesian)
    # One 9 x 9 matrix for the mean of R T R' over all R.
    mean = np.einsum("gij,gkl->ikjl", rotations, rotations).reshape(9, 9) / len(rotations)
    averaged: NDArray[np.float64] = (tensors.reshape(-1, 9) @ mean.T).reshape(tensors.shape)
    return averaged
