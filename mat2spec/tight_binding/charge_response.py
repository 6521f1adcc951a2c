"""Charges of the atoms in given bands, and how they respond to potentials, by first-order perturbation theory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.eigenproblem import Bands
from mat2spec.tight_binding.filling import fermi_level

TEMPERATURE_EV = 0.15
# Filled share below which a band counts as empty, and energies closer than which count as equal, in eV.
_EMPTY, _EQUAL_EV = 1e-7, 1e-3
# States per eV at the Fermi level below which it does not matter where it lies.
_NO_STATES = 1e-8


@dataclass(frozen=True)
class FilledBands:
    """Bands of a crystal with the occupations of `TEMPERATURE_EV`.

    Parameters
    ----------
    crystal
        The crystal.
    overlap
        Shape (n_kpoints, n, n).
    weights
        Of the k-points, shape (n_kpoints,).
    bands
        Solved with this overlap.
    """

    crystal: TightBindingCrystal
    overlap: Tensor
    weights: Tensor
    bands: Bands

    @cached_property
    def filled(self) -> Tensor:
        """Filled share of each band, shape (n_kpoints, n)."""
        energies = self.bands.energies
        level = fermi_level(energies, self.weights, self.crystal.basis.n_electrons, TEMPERATURE_EV)
        return torch.special.expit((level - energies) / TEMPERATURE_EV)

    @cached_property
    def n_filled(self) -> int:
        """How many of the lowest bands hold electrons."""
        return int((self.filled > _EMPTY).sum(dim=1).max())

    def charges(self) -> NDArray[np.float64]:
        """Electrons that each atom gained (Mulliken), the same on equivalent atoms, shape (n_atoms,)."""
        basis, some = self.crystal.basis, slice(self.n_filled)
        coefficients = self.bands.coefficients[..., some]
        shares = (coefficients.conj() * (self.overlap @ coefficients)).real
        of_orbitals = torch.einsum("kob,kb,k->o", shares, self.filled[:, some], 2 * self.weights)
        electrons = np.zeros(basis.n_atoms)
        np.add.at(electrons, basis.atom, of_orbitals.double().numpy())
        return self.crystal.cell.average_equivalent(electrons - basis.valence_electrons)

    def response(self) -> NDArray[np.float64]:
        """Change of the charge of each atom by the potential of each, in 1/eV, shape (n_atoms, n_atoms).

        For potentials that are the same on equivalent atoms, and a fixed number of electrons.
        """
        orbits, orbit = np.unique(self.crystal.cell.equivalent_atoms, return_inverse=True)
        members = [torch.from_numpy(np.flatnonzero(orbit[self.crystal.basis.atom] == o)) for o in range(len(orbits))]
        change, softness = torch.zeros(len(orbits), len(orbits)), torch.zeros(len(orbits))
        for kpoint, weight in enumerate(self.weights):
            elements = self._elements(kpoint, members)
            pairs, slopes = self._divided_differences(kpoint)
            parts = torch.view_as_real(elements).movedim(-1, 1) if elements.is_complex() else elements[:, None]
            change += 2 * weight * (parts * pairs).flatten(1) @ parts.flatten(1).T
            softness += 2 * weight * torch.diagonal(parts[:, 0], dim1=1, dim2=2) @ slopes
        # The Fermi level follows.
        if float(softness.sum()) < -_NO_STATES:
            change -= torch.outer(softness, softness) / softness.sum()
        sizes = np.bincount(orbit)
        per_atom: NDArray[np.float64] = change.double().numpy() / np.outer(sizes, sizes)
        return per_atom[np.ix_(orbit, orbit)]

    def _elements(self, kpoint: int, members: list[Tensor]) -> Tensor:
        """Derivative of the Hamiltonian by the potential of each orbit between bands with electrons and all bands."""
        coefficients = self.bands.coefficients[kpoint]
        products = self.overlap[kpoint] @ coefficients
        some = slice(self.n_filled)
        return torch.stack(
            [
                (coefficients[rows, some].mH @ products[rows] + products[rows, some].mH @ coefficients[rows]) / 2
                for rows in members
            ]
        ).resolve_conj()

    def _divided_differences(self, kpoint: int) -> tuple[Tensor, Tensor]:
        """Of the occupation by the energy, for bands with electrons and all bands; and its slope at the former.

        Pairs of which only the first has electrons count twice, for both orders.
        """
        energies, filled, n_filled = self.bands.energies[kpoint], self.filled[kpoint], self.n_filled
        slopes = (-filled * (1 - filled) / TEMPERATURE_EV)[:n_filled]
        apart = energies[:n_filled, None] - energies
        equal = apart.abs() < _EQUAL_EV
        quotients = (filled[:n_filled, None] - filled) / apart.masked_fill(equal, 1.0)
        quotients = torch.where(equal, slopes[:, None], quotients)
        quotients[:, n_filled:] *= 2
        return quotients, slopes
