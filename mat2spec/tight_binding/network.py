"""Learned corrections of levels and hoppings from the chemistry of each site, and of the resulting site spectra.

Each shell of each atom gets an energy shift and a hopping scale, with spin also an exchange splitting: an entry of a
table of elements plus a small network on site descriptors. After the bands are solved, a second small network reweights
the spectrum of each site and its share. Both start at zero, so that training starts from the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from pymatgen.core import Element
from torch import Tensor, nn

from mat2spec.crystals.elements import element_features
from mat2spec.crystals.magnetism import MAGNETIC_BESIDE_ANIONS, MAGNETIC_ELEMENTS
from mat2spec.spectra.grids import SpectralGrid
from mat2spec.tight_binding.channels import N_SHELLS, SHELL_NAMES
from mat2spec.tight_binding.density_of_states import BROADENING_EV, projected_dos
from mat2spec.tight_binding.filling import Filling, fill
from mat2spec.tight_binding.problem import Problem, corrected_bands

# Units of the network outputs: eV of a shift, and relative change of a hopping.
_SHIFT_EV, _SCALE, _SPLITTING_EV = 2.0, 0.3, 2.0
# Initial splitting in eV, of the d shells of elements that may have a moment and of all other shells: at zero it has no
# gradient, as both signs are equivalent.
_FIRST_D_SPLITTING_EV, _FIRST_SPLITTING_EV = 1.5, 0.1
_N_ELEMENTS = 100
_LARGEST_INPUT = 6.0
# Floor of a site spectrum, relative to its mean, before its logarithm is taken.
_FLOOR = 1e-3
_LARGEST_LOG_SHARE = 2.0


@dataclass(frozen=True)
class SiteSpectra:
    """Answer for one crystal.

    Parameters
    ----------
    spectra
        Density of states of each atom of the primitive cell, states/eV, shape (n_atoms, size).
    filling
        Zero, gap and metallicity of the corrected bands.
    """

    spectra: Tensor
    filling: Filling


class SiteAnswer(NamedTuple):
    """What networks say of sites before any bands are solved; those of an ensemble stand along a first axis of their own.

    Parameters
    ----------
    hidden
        Units that read the inputs, shape (..., n_atoms, width).
    corrections
        Of the Hamiltonian, in units of the network, shape (..., n_atoms, number of corrections).
    weights
        By which spectra of sites are changed, logarithms, shape (..., n_atoms, size + 1).
    """

    hidden: Tensor
    corrections: Tensor
    weights: Tensor

    def at(self, sites: slice) -> SiteAnswer:
        """The answer for some of the sites."""
        return SiteAnswer(*(each[..., sites, :] for each in self))


class SiteInputs(nn.Module):
    """Standardised site descriptors and element features, shape (n_atoms, width)."""

    elements: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, descriptor_width: int) -> None:
        super().__init__()
        self.register_buffer("elements", torch.from_numpy(element_features()).float(), persistent=False)
        self.width = descriptor_width + self.elements.shape[1]
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("std", torch.ones(self.width))

    def raw(self, descriptors: Tensor, atomic_numbers: Tensor) -> Tensor:
        """Inputs before standardisation."""
        return torch.cat([descriptors, self.elements[atomic_numbers]], dim=1)

    @torch.no_grad()
    def fit(self, descriptors: Tensor, atomic_numbers: Tensor) -> None:
        """Standardise by the sites of the training crystals."""
        inputs = self.raw(descriptors, atomic_numbers)
        self.mean.copy_(inputs.mean(dim=0))
        # A column that does not vary says nothing and must not divide by zero.
        self.std.copy_(inputs.std(dim=0) + 1e-3)

    def forward(self, descriptors: Tensor, atomic_numbers: Tensor) -> Tensor:
        """Standardised inputs, with outliers compressed."""
        standard = (self.raw(descriptors, atomic_numbers) - self.mean) / self.std
        return standard.clamp(-_LARGEST_INPUT, _LARGEST_INPUT)


class CorrectionNetwork(nn.Module):
    """One member of the ensemble.

    Parameters
    ----------
    n_inputs
        Width of `SiteInputs`.
    size
        Bins of the spectrum.
    width, head_width
        Hidden units of the network of the Hamiltonian and of that of the site spectra.
    spin
        Whether shells have an exchange splitting.
    """

    first_splittings_ev: Tensor

    def __init__(self, n_inputs: int, size: int, width: int = 64, head_width: int = 128, *, spin: bool = False) -> None:
        super().__init__()
        n_corrections = (3 if spin else 2) * N_SHELLS
        self.table = nn.Embedding(_N_ELEMENTS, n_corrections)
        self.hidden = nn.Sequential(nn.Dropout(0.1), nn.Linear(n_inputs, width), nn.SiLU())
        self.corrections = nn.Sequential(nn.Dropout(0.2), nn.Linear(width, n_corrections))
        self.head = nn.Sequential(
            nn.Dropout(0.3),
            nn.Linear(n_inputs, head_width),
            nn.SiLU(),
            nn.Dropout(0.4),
            nn.Linear(head_width, size + 1),
        )
        self.register_buffer("first_splittings_ev", _first_splittings_ev(), persistent=False)
        for parameters in (self.table.weight, *self.corrections[-1].parameters(), *self.head[-1].parameters()):
            nn.init.zeros_(parameters)

    def of_sites(self, inputs: Tensor, atomic_numbers: Tensor) -> SiteAnswer:
        """What the network says of sites of any crystals, of which `inputs` are those from `SiteInputs`."""
        hidden = self.hidden(inputs)
        return SiteAnswer(hidden, self.table(atomic_numbers) + self.corrections(hidden), self.head(inputs))

    def forward(self, problem: Problem, inputs: Tensor, grid: SpectralGrid) -> SiteSpectra:
        """Spectra of the sites of a crystal.

        Parameters
        ----------
        problem
            The crystal.
        inputs
            Of its sites, from `SiteInputs`.
        grid
            Spectral grid.
        """
        numbers = torch.from_numpy(problem.cell.atomic_numbers).to(inputs.device)
        sites = self.of_sites(inputs, numbers)
        corrections = hamiltonian_corrections(sites.corrections, self.first_splittings_ev[numbers], problem.n_spins)
        energies, shares = corrected_bands(problem, *corrections)
        (spectra,), (filling,) = spectra_of_bands(problem, energies[None], atom_populations(problem, shares), grid)
        return SiteSpectra(reweighted(spectra, sites.weights), filling)


def hamiltonian_corrections(corrections: Tensor, first_splittings_ev: Tensor, n_spins: int) -> tuple[Tensor, Tensor]:
    """Shifts in eV of each spin and hopping scales of each atom and shell.

    Parameters
    ----------
    corrections
        Of the sites of a crystal, from `SiteAnswer`.
    first_splittings_ev
        Of the sites, from `CorrectionNetwork`, shape (n_atoms, 3).
    n_spins
        `Problem.n_spins`.

    Returns
    -------
    Tensor
        Shifts, shape (..., n_spins, 3 x n_atoms).
    Tensor
        Scales, shape (..., 3 x n_atoms).
    """
    shifts, scales, *splittings = corrections.split(N_SHELLS, dim=-1)
    by_spin = _SHIFT_EV * shifts.flatten(-2)[..., None, :]
    if n_spins == 2:
        splitting = (first_splittings_ev + _SPLITTING_EV * splittings[0]).flatten(-2)[..., None, :]
        by_spin = torch.cat([by_spin - splitting / 2, by_spin + splitting / 2], dim=-2)
    return by_spin, (_SCALE * scales).flatten(-2)


def spectra_of_bands(
    problem: Problem, energies: Tensor, populations: Tensor, grid: SpectralGrid
) -> tuple[Tensor, list[Filling]]:
    """Fill bands of members and make spectra of the sites of them, states/eV, shape (n_members, n_atoms, size).

    Parameters
    ----------
    problem, grid
        As in `CorrectionNetwork.forward`.
    energies
        In eV, shape (n_members, n_spins x n_kpoints, n).
    populations
        Of the atoms, from `atom_populations`.
    """
    weights = problem.state_weights
    fillings = [fill(of_member, weights, problem.n_electrons, problem.n_spins) for of_member in energies]
    zeros = torch.stack([filling.zero_ev for filling in fillings])[:, None, None]
    relative = (energies - zeros).to(weights.dtype)
    return projected_dos(relative, populations, weights, grid, BROADENING_EV).float(), fillings


def reweighted(spectra: Tensor, weights: Tensor) -> Tensor:
    """Spectra of sites, shape (..., n_atoms, size), with the weights of `SiteAnswer`."""
    total = spectra.sum(dim=-1, keepdim=True).clamp_min(_FLOOR)
    logits = torch.log(spectra / total + _FLOOR) + weights[..., :-1]
    share = torch.exp(weights[..., -1:].clamp(-_LARGEST_LOG_SHARE, _LARGEST_LOG_SHARE))
    return torch.softmax(logits, dim=-1) * total * share


def _first_splittings_ev() -> Tensor:
    """Shape (number of elements, 3)."""
    splittings = torch.full((_N_ELEMENTS, N_SHELLS), _FIRST_SPLITTING_EV)
    for symbol in MAGNETIC_ELEMENTS | MAGNETIC_BESIDE_ANIONS:
        splittings[Element(symbol).Z, SHELL_NAMES.index("d")] = _FIRST_D_SPLITTING_EV
    return splittings


def atom_populations(problem: Problem, shares: Tensor) -> Tensor:
    """Populations of the atoms from those of their shells, not negative, the same on equivalent atoms.

    Parameters
    ----------
    problem
        The crystal.
    shares
        Shape (n_spins x n_kpoints, n, 3 x n_atoms).
    """
    return average_equivalent(shares.unflatten(-1, (-1, N_SHELLS)).sum(dim=-1), problem).clamp_min(0)


def average_equivalent(values: Tensor, problem: Problem) -> Tensor:
    """Mean over equivalent atoms along the last axis, as the irreducible mesh breaks the symmetry between them."""
    equivalent = torch.from_numpy(problem.cell.equivalent_atoms).to(values.device)
    same = (equivalent[:, None] == equivalent).to(values.dtype)
    return values @ (same / same.sum(dim=0))
