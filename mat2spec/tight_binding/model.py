"""Learned Slater-Koster tight binding for electronic densities of states.

The bands of a crystal are those of a first-principles Hamiltonian whose levels and hoppings are corrected per site by a
small network (`mat2spec.tight_binding`). Since electrons are counted, metals, gaps and the integral follow from the
bands. The model reads crystals, not graphs. Several members trained from different seeds form an ensemble: its
prediction is their mean, and their disagreement is part of the uncertainty.
"""

from __future__ import annotations

import math
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
from mat2spec.tight_binding.network import (
    CorrectionNetwork,
    SiteAnswer,
    SiteInputs,
    atom_populations,
    hamiltonian_corrections,
    reweighted,
    spectra_of_bands,
)
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
        numbers = torch.from_numpy(problem.cell.atomic_numbers).to(descriptors.device)
        return self.of_crystal(problem, self.of_sites(descriptors, numbers))

    def of_sites(self, descriptors: Tensor, atomic_numbers: Tensor) -> SiteAnswer:
        """What the members say of sites of any crystals."""
        inputs = self.inputs(descriptors, atomic_numbers)
        members = [member.of_sites(inputs, atomic_numbers) for member in self.networks]
        return SiteAnswer(*(torch.stack(each) for each in zip(*members, strict=True)))

    def of_crystal(self, problem: Problem, sites: SiteAnswer) -> TightBindingAnswer:
        """Answer for one crystal, whose sites are described by `of_sites`."""
        spectra, band_gaps_ev, _ = self.site_spectra(problem, sites)
        return self.answer_of(spectra, band_gaps_ev, sites)

    def answer_of(self, spectra: Tensor, band_gaps_ev: Tensor, sites: SiteAnswer) -> TightBindingAnswer:
        """Sums over the sites of what `site_spectra` gives."""
        return TightBindingAnswer(spectra.mean(dim=1), sites.hidden.mean(dim=1).flatten(), band_gaps_ev)

    def site_spectra(self, problem: Problem, sites: SiteAnswer) -> tuple[Tensor, Tensor, LinearBands]:
        """Spectra of the sites and gaps in eV of each member, and the bands at their mean corrections.

        Parameters
        ----------
        problem
            The crystal.
        sites
            From `of_sites`.

        Returns
        -------
        Tensor
            States/eV, shape (n_members, n_atoms, size).
        Tensor
            Gaps, shape (n_members,).
        LinearBands
            The bands.
        """
        shifts, scales = self._corrections_of(problem, sites)
        mean_shift, mean_scale = shifts.mean(dim=0), scales.mean(dim=0)
        # The members differ little: one set of bands is solved, and those of each member follow to first order.
        bands = LinearBands.solve(problem, mean_shift, mean_scale)
        populations = atom_populations(problem, bands.by_shifts)
        of_members = bands.at(shifts - mean_shift, scales - mean_scale)
        spectra, fillings = spectra_of_bands(problem, of_members, populations, self.grid)
        gaps = torch.tensor([filling.gap_ev for filling in fillings])
        return reweighted(spectra, sites.weights), gaps, bands

    def corrections(self, descriptors: Tensor, problem: Problem) -> tuple[Tensor, Tensor]:
        """Shifts in eV, shape (n_members, n_spins, 3 x n_atoms), and hopping scales, shape (n_members, 3 x n_atoms)."""
        numbers = torch.from_numpy(problem.cell.atomic_numbers).to(descriptors.device)
        return self._corrections_of(problem, self.of_sites(descriptors, numbers))

    def _corrections_of(self, problem: Problem, sites: SiteAnswer) -> tuple[Tensor, Tensor]:
        numbers = torch.from_numpy(problem.cell.atomic_numbers).to(sites.corrections.device)
        first_splittings_ev = self.networks[0].first_splittings_ev[numbers]
        return hamiltonian_corrections(sites.corrections, first_splittings_ev, problem.n_spins)

    def hidden_vector(self, descriptors: Tensor, atomic_numbers: Tensor) -> Tensor:
        """The crystal in the space of the hidden units of all members, used for distances to the training set."""
        return self.of_sites(descriptors, atomic_numbers).hidden.mean(dim=1).flatten()


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
