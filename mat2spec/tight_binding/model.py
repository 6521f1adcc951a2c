"""Learned Slater-Koster tight binding for electronic densities of states.

The bands of a crystal are those of a first-principles Hamiltonian whose levels and hoppings are corrected per site by a
small network (`mat2spec.tight_binding`). Since electrons are counted, metals, gaps and the integral follow from the
bands. The model reads crystals, not graphs. Several members trained from different seeds form an ensemble: its
prediction is their mean, and their disagreement is part of the uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from mat2spec.descriptors.kinds import SevenNetVersion
from mat2spec.models.base import ModelSettings
from mat2spec.settings import LARGEST_METAL_GAP_EV
from mat2spec.spectra.grids import SpectralGrid
from mat2spec.spectra.uncertainty import ErrorModel
from mat2spec.tight_binding.network import CorrectionNetwork, SiteInputs, SiteSpectra, atom_populations
from mat2spec.tight_binding.parameters import tables_hash
from mat2spec.tight_binding.problem import KPOINTS_PER_ATOM, LinearBands, Problem


class TightBindingSettings(ModelSettings):
    """Sizes of the model and settings of its training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    descriptors: SevenNetVersion = Field(
        default=SevenNetVersion.SEVENNET_0, description="Potential that describes the sites."
    )
    n_members: int = Field(default=4, ge=1, description="Networks of the ensemble.")
    width: int = Field(default=64, ge=4, description="Hidden units of the network that corrects the Hamiltonian.")
    head_width: int = Field(default=128, ge=4, description="Hidden units of the network that corrects site spectra.")
    kpoints_per_atom: float = Field(
        default=KPOINTS_PER_ATOM, gt=0, description="Points of the full mesh times atoms in the primitive cell."
    )
    spin: bool = Field(
        default=False, description="Whether the spins of crystals that can be magnetic are solved separately."
    )
    tables: str = Field(
        default_factory=tables_hash, description="Hash of the Slater-Koster tables that the corrections belong to."
    )


@dataclass(frozen=True)
class TightBindingAnswer:
    """Answer of the ensemble for one crystal.

    Parameters
    ----------
    spectra
        Density of states per atom of each member, states/eV, shape (n_members, size).
    vector
        The crystal in the space of the hidden units, shape (n_members x width,).
    band_gaps_ev
        Gap of the bands of each member, zero for a metal, shape (n_members,).
    """

    spectra: Tensor
    vector: Tensor
    band_gaps_ev: Tensor

    @property
    def band_gap_ev(self) -> float:
        """Median gap of the members."""
        return float(self.band_gaps_ev.median())

    @property
    def metal_share(self) -> float:
        """Fraction of the members whose bands are metallic."""
        return float((self.band_gaps_ev <= LARGEST_METAL_GAP_EV).float().mean())


class TightBinding(nn.Module):
    """Ensemble of corrected tight-binding models.

    Parameters
    ----------
    settings
        Sizes.
    grid
        Spectral grid of the answer.
    """

    settings_class = TightBindingSettings
    log_integral_std: Tensor

    def __init__(self, settings: TightBindingSettings, grid: SpectralGrid) -> None:
        super().__init__()
        self.settings, self.grid = settings, grid
        self.inputs = SiteInputs(settings.descriptors.width)
        self.members = nn.ModuleList(
            CorrectionNetwork(self.inputs.width, grid.size, settings.width, settings.head_width, spin=settings.spin)
            for _ in range(settings.n_members)
        )
        self.error_model = ErrorModel()
        # Standard deviation of the logarithm of predicted over true integral, from the validation set.
        self.register_buffer("log_integral_std", torch.full((), torch.nan))

    @property
    def networks(self) -> list[CorrectionNetwork]:
        """The members."""
        return [cast("CorrectionNetwork", member) for member in self.members]

    def forward(self, problem: Problem, descriptors: Tensor) -> TightBindingAnswer:
        """Answer for one crystal.

        Parameters
        ----------
        problem
            The crystal, prepared by `mat2spec.tight_binding.problem.prepare`.
        descriptors
            Of its sites, shape (n_atoms, `settings.descriptors.width`).
        """
        members, _ = self.site_spectra(problem, descriptors)
        return self.answer_of(members, problem, descriptors)

    def answer_of(self, members: Sequence[SiteSpectra], problem: Problem, descriptors: Tensor) -> TightBindingAnswer:
        """Sums of the site spectra of each member; other parameters as in `forward`."""
        numbers = torch.from_numpy(problem.cell.atomic_numbers).to(descriptors.device)
        return TightBindingAnswer(
            torch.stack([member.spectra.sum(dim=0) for member in members]) / problem.n_atoms,
            self.hidden_vector(descriptors, numbers),
            torch.tensor([member.filling.gap_ev for member in members]),
        )

    def site_spectra(self, problem: Problem, descriptors: Tensor) -> tuple[list[SiteSpectra], LinearBands]:
        """Site spectra of each member, and the bands at their mean corrections; parameters as in `forward`."""
        numbers = torch.from_numpy(problem.cell.atomic_numbers).to(descriptors.device)
        inputs = self.inputs(descriptors, numbers)
        shifts, scales = self.corrections(descriptors, numbers, problem.n_spins)
        # The members differ little: one set of bands is solved, and those of each member follow to first order.
        bands = LinearBands.solve(problem, shifts.mean(dim=0), scales.mean(dim=0))
        populations = atom_populations(problem, bands.by_shifts)
        answers = [
            member.spectra_of_bands(
                problem,
                inputs,
                bands.at(shift - shifts.mean(dim=0), scale - scales.mean(dim=0)),
                populations,
                self.grid,
            )
            for member, shift, scale in zip(self.networks, shifts, scales, strict=True)
        ]
        return answers, bands

    def corrections(self, descriptors: Tensor, atomic_numbers: Tensor, n_spins: int) -> tuple[Tensor, Tensor]:
        """Shifts in eV, shape (n_members, n_spins, 3 x n_atoms), and hopping scales, shape (n_members, 3 x n_atoms)."""
        inputs = self.inputs(descriptors, atomic_numbers)
        members = [member.hamiltonian_corrections(inputs, atomic_numbers, n_spins) for member in self.networks]
        shifts, scales = zip(*members, strict=True)
        return torch.stack(shifts), torch.stack(scales)

    def hidden_vector(self, descriptors: Tensor, atomic_numbers: Tensor) -> Tensor:
        """The crystal in the space of the hidden units of all members, used for distances to the training set."""
        inputs = self.inputs(descriptors, atomic_numbers)
        return torch.cat([member.hidden(inputs).mean(dim=0) for member in self.networks])


class PredictedSpectrum(NamedTuple):
    """Mean of the members.

    Parameters
    ----------
    shape
        Spectrum that sums to one, shape (size,).
    spread
        Standard deviation of the shape among the members, shape (size,).
    total
        Sum of the spectrum per atom, states/eV.
    """

    shape: Tensor
    spread: Tensor
    total: Tensor


def predicted_spectrum(answer: TightBindingAnswer, grid: SpectralGrid) -> PredictedSpectrum:
    """Mean of the members; if most of them find an insulator, without states in their median gap."""
    totals = answer.spectra.sum(dim=1, keepdim=True).clamp_min(1e-9)
    shapes = answer.spectra / totals
    shape = shapes.mean(dim=0)
    if answer.metal_share < 0.5:
        emptied = shape * (1 - covered_share(grid, 0.0, answer.band_gap_ev).to(shape))
        shape = emptied / emptied.sum().clamp_min(1e-9)
    spread = shapes.std(dim=0) if len(shapes) > 1 else torch.zeros_like(shape)
    return PredictedSpectrum(shape, spread, totals.mean())


def covered_share(grid: SpectralGrid, bottom: float, top: float) -> Tensor:
    """Share of each bin that lies between two energies, shape (size,)."""
    overlap = np.minimum(grid.edges[1:], top) - np.maximum(grid.edges[:-1], bottom)
    return torch.from_numpy(np.clip(overlap / grid.width, 0, 1))


def relative_integral_error(log_integral_std: float) -> float:
    """Relative standard deviation of a log-normal number whose logarithm has this standard deviation."""
    return math.sqrt(math.expm1(log_integral_std**2))
