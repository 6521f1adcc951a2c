"""Charges of the atoms in given bands, and how they respond to potentials, by first-order perturbation theory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.eigenproblem import Orthogonaliser, real_product
from mat2spec.tight_binding.filling import fermi_level

TEMPERATURE_EV = 0.15
# Filled share below which a band counts as empty, and energies closer than which count as equal, in eV.
_EMPTY, _EQUAL_EV = 1e-7, 1e-3
# States per eV at the Fermi level below which it does not matter where it lies.
_NO_STATES = 1e-8
# Matrix elements that are computed at once.
_MOST_NUMBERS = 2**21


@dataclass(frozen=True)
class FilledBands:
    """Bands of a crystal with the occupations of `TEMPERATURE_EV`.

    Parameters
    ----------
    crystal
        The crystal.
    weights
        Of the k-points, shape (n_kpoints,).
    orthogonaliser
        Of the overlap.
    energies, vectors
        Solutions in the basis of the orthogonaliser, shape (n_kpoints, n) and (n_kpoints, n, n).
    """

    crystal: TightBindingCrystal
    weights: Tensor
    orthogonaliser: Orthogonaliser
    energies: Tensor
    vectors: Tensor

    @cached_property
    def filled(self) -> Tensor:
        """Filled share of each band, shape (n_kpoints, n)."""
        level = fermi_level(self.energies, self.weights, self.crystal.basis.n_electrons, TEMPERATURE_EV)
        return torch.special.expit((level - self.energies) / TEMPERATURE_EV)

    @cached_property
    def n_filled(self) -> int:
        """How many of the lowest bands hold electrons."""
        return int((self.filled > _EMPTY).sum(dim=1).max())

    def charges(self) -> NDArray[np.float64]:
        """Electrons that each atom gained (Mulliken), the same on equivalent atoms, shape (n_atoms,)."""
        basis, some = self.crystal.basis, slice(self.n_filled)
        shares = real_product(*self._coefficients(some))
        occupations = 2 * self.weights[:, None] * self.filled[:, some]
        of_orbitals = torch.bmm(shares, occupations[:, :, None]).sum(dim=0)[:, 0].double().numpy()
        electrons = np.zeros(basis.n_atoms)
        np.add.at(electrons, basis.atom, of_orbitals)
        return self.crystal.cell.average_equivalent(electrons - basis.valence_electrons)

    def response(self) -> NDArray[np.float64]:
        """Change of the charge of each atom by the potential of each, in 1/eV, shape (n_atoms, n_atoms).

        For potentials that are the same on equivalent atoms, and a fixed number of electrons.
        """
        orbits, orbit = np.unique(self.crystal.cell.equivalent_atoms, return_inverse=True)
        members = _padded_members(orbit[self.crystal.basis.atom], len(orbits))
        change, softness = torch.zeros(len(orbits), len(orbits)), torch.zeros(len(orbits))
        at_once = max(1, _MOST_NUMBERS // (len(orbits) * self.n_filled * self.vectors.shape[2]))
        for start in range(0, len(self.weights), at_once):
            of_pairs, of_levels = self._response_at(slice(start, start + at_once), members)
            change, softness = change + of_pairs, softness + of_levels
        # The Fermi level follows.
        if float(softness.sum()) < -_NO_STATES:
            change -= torch.outer(softness, softness) / softness.sum()
        sizes = np.bincount(orbit)
        per_atom: NDArray[np.float64] = change.double().numpy() / np.outer(sizes, sizes)
        return per_atom[np.ix_(orbit, orbit)]

    def _coefficients(self, some: slice, kpoints: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Coefficients c of some bands at some k-points, and S c."""
        vectors = self.vectors[kpoints, :, some]
        return self.orthogonaliser.transform[kpoints] @ vectors, self.orthogonaliser.dual[kpoints] @ vectors

    def _response_at(self, kpoints: slice, members: Tensor) -> tuple[Tensor, Tensor]:
        """Change of the charges of the orbits at a fixed level, and by the level."""
        elements = self._elements(kpoints, members)
        pairs, slopes = self._divided_differences(kpoints)
        weights = 2 * self.weights[kpoints]
        diagonal = torch.diagonal(elements.real if elements.is_complex() else elements, dim1=2, dim2=3)
        softness = (diagonal * (weights[:, None] * slopes)[:, None]).sum(dim=(0, 2))
        pairs = (weights[:, None, None] * pairs)[:, None]
        if elements.is_complex():
            elements, pairs = torch.view_as_real(elements), pairs[..., None]
        return ((elements * pairs).flatten(2) @ elements.flatten(2).mT).sum(dim=0), softness

    def _elements(self, kpoints: slice, members: Tensor) -> Tensor:
        """Derivative of the Hamiltonian by the potential of each orbit, shape (n_kpoints, n_orbits, n_filled, n).

        Between bands with electrons and all bands.
        """
        both = [
            torch.nn.functional.pad(of_bands, (0, 0, 0, 1))[:, members]
            for of_bands in self._coefficients(slice(None), kpoints)
        ]
        left, right = torch.cat(both, dim=2)[..., : self.n_filled], torch.cat(both[::-1], dim=2)
        return left.mH.resolve_conj() @ (right / 2)

    def _divided_differences(self, kpoints: slice) -> tuple[Tensor, Tensor]:
        """Of the occupation by the energy, for bands with electrons and all bands; and its slope at the former.

        Pairs of which only the first has electrons count twice, for both orders.
        """
        energies, filled, n_filled = self.energies[kpoints], self.filled[kpoints], self.n_filled
        slopes = (-filled * (1 - filled) / TEMPERATURE_EV)[:, :n_filled]
        apart = energies[:, :n_filled, None] - energies[:, None]
        equal = apart.abs() < _EQUAL_EV
        quotients = (filled[:, :n_filled, None] - filled[:, None]) / apart.masked_fill(equal, 1.0)
        quotients = torch.where(equal, slopes[..., None], quotients)
        quotients[..., n_filled:] *= 2
        return quotients, slopes


def _padded_members(orbit: NDArray[np.int64], n_orbits: int) -> Tensor:
    """Orbitals of each orbit of atoms, filled up with one past the last, shape (n_orbits, most)."""
    counts = np.bincount(orbit, minlength=n_orbits)
    members = np.full((n_orbits, counts.max()), len(orbit))
    members[np.arange(counts.max()) < counts[:, None]] = np.argsort(orbit, kind="stable")
    return torch.from_numpy(members)
