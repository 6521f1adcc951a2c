"""SiteDOS, the model of this project: a spectrum is the sum of the spectra of its atoms.

Each atom is described by frozen interatomic potentials (`mat2spec.descriptors`) and predicts a spectrum that
sums to one; the crystal's is their mean. For phonons that is exact: each site-projected density of states of a
harmonic crystal holds three modes, so the integral is 3N by construction. For electrons the share of an atom is
learned, as atoms differ in valence.

Several members with the same layout, trained from different seeds, make an ensemble in one file: its prediction
is their mean, their disagreement is part of the uncertainty.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from mat2spec.crystals.elements import atomic_masses, element_features
from mat2spec.descriptors.kinds import Descriptors
from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.graphs.settings import GraphSettings
from mat2spec.models.base import LossTerms, ModelSettings, SpectrumModel
from mat2spec.models.pooling import WeightedMean
from mat2spec.spectra.normalisation import Setting, activate, loss_terms

# Inputs are standardised and compressed beyond this many standard deviations.
_LARGEST_INPUT = 6.0
# Shares of atoms start equal: softplus of this is one.
_SHARE_OFFSET = 0.5413


class SiteDosSettings(ModelSettings):
    """Sizes of SiteDOS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=512, ge=8, description="Width of the vectors of atoms.")
    dropout: float = Field(default=0.2, ge=0, lt=1, description="Dropout.")
    site_shares: Literal["equal", "learned"] = Field(
        default="learned", description="Share of an atom in the spectrum: the same for all (phonons), or learned."
    )
    wasserstein_weight: float = Field(
        default=0.3, ge=0, description="Weight of the Wasserstein distance in bins, added to the SumNorm-KL loss."
    )
    n_members: int = Field(default=1, ge=1, description="Networks of the ensemble.")
    descriptors: Descriptors = Field(default=Descriptors.CHGNET, description="What describes the atoms.")
    sees_crystal: bool = Field(
        default=False,
        description="Whether an atom is given the mean over all atoms of the crystal beside its own vector.",
    )

    def adapt_graphs(self, settings: GraphSettings) -> GraphSettings:
        """Graphs with the descriptors."""
        return settings.model_copy(update={"descriptors": self.descriptors})


class SiteEncoder(nn.Module):
    """Descriptors and elements of the atoms to vectors, one block of `width` per member: (n_nodes, n_members x width)."""

    elements: Tensor
    input_mean: Tensor
    input_std: Tensor

    def __init__(self, settings: SiteDosSettings) -> None:
        super().__init__()
        features, masses = torch.from_numpy(element_features()), torch.from_numpy(atomic_masses())
        # A force constant over a mass is the square of a frequency. Row 0 is unused.
        by_mass = torch.stack([masses.log(), masses.rsqrt()], dim=1).nan_to_num(posinf=0.0, neginf=0.0)
        self.register_buffer("elements", torch.cat([features, by_mass], dim=1), persistent=False)
        size = settings.descriptors.width + self.elements.shape[1]
        self.register_buffer("input_mean", torch.zeros(size))
        self.register_buffer("input_std", torch.ones(size))
        hidden = settings.width * (2 if settings.sees_crystal else 1)
        self.members = nn.ModuleList(
            nn.Sequential(nn.Linear(size, settings.width), nn.SiLU(), nn.Linear(hidden, settings.width))
            for _ in range(settings.n_members)
        )
        self.mean_over_atoms = WeightedMean() if settings.sees_crystal else None

    def inputs(self, graph: CrystalGraphs) -> Tensor:
        """Descriptors and element features, shape (n_nodes, size).

        Raises
        ------
        ValueError
            If the graphs were made without descriptors.
        """
        if "descriptors" not in graph:
            raise ValueError("These graphs have no descriptors; build them with the settings of `adapt_graphs`.")
        return torch.cat([graph.descriptors, self.elements[graph.atomic_numbers]], dim=1)

    def forward(self, graph: CrystalGraphs) -> Tensor:
        standard = (self.inputs(graph) - self.input_mean) / self.input_std
        standard = standard.clamp(-_LARGEST_INPUT, _LARGEST_INPUT)
        return torch.cat([self._member(member, standard, graph) for member in self.members], dim=1)

    def _member(self, member: nn.Module, standard: Tensor, graph: CrystalGraphs) -> Tensor:
        first, activation, second = member.children()
        hidden = activation(first(standard))
        if self.mean_over_atoms is not None:
            mean = self.mean_over_atoms(hidden, graph.batch, graph.ptr, weight=graph.multiplicity)
            hidden = torch.cat([hidden, mean[graph.batch]], dim=1)
        return second(hidden)


class SiteHead(nn.Module):
    """From atom vectors to raw spectra and shares in the spectrum of the crystal."""

    def __init__(self, settings: SiteDosSettings, size: int) -> None:
        super().__init__()
        width = settings.width
        self.spectrum = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(width, size),
        )
        self.share = nn.Linear(width, 1) if settings.site_shares == "learned" else None

    def forward(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Raw spectra (n_nodes, size), positive unnormalised shares (n_nodes,)."""
        share = (
            torch.ones_like(nodes[:, 0]) if self.share is None else softplus(self.share(nodes)[:, 0] + _SHARE_OFFSET)
        )
        return self.spectrum(nodes), share


class SiteDos(SpectrumModel):
    """Spectra of atoms, summed."""

    settings_class = SiteDosSettings
    settings: SiteDosSettings
    encoder: SiteEncoder

    def __init__(self, settings: SiteDosSettings, size: int, setting: Setting) -> None:
        super().__init__(settings, size, setting)
        self.encoder = SiteEncoder(settings)
        self.heads = nn.ModuleList(SiteHead(settings, size) for _ in range(settings.n_members))
        self.mean_over_atoms = WeightedMean()

    @torch.no_grad()
    def fit_inputs(self, graph: CrystalGraphs) -> None:
        inputs = self.encoder.inputs(graph)
        self.encoder.input_mean.copy_(inputs.mean(dim=0))
        # A constant column carries no information and must not cause a division by zero.
        self.encoder.input_std.copy_(inputs.std(dim=0) + 1e-3)

    def forward_from_vectors(self, vectors: Tensor, graph: CrystalGraphs) -> Tensor:
        return self._members(vectors, graph).mean(dim=0)

    def spread(self, vectors: Tensor, graph: CrystalGraphs) -> Tensor:
        members = self._members(vectors, graph)
        return members.std(dim=0) if len(members) > 1 else torch.zeros_like(members[0])

    def crystal_vectors(self, vectors: Tensor, graph: CrystalGraphs) -> Tensor:
        return self._mean_over_atoms(vectors, graph.multiplicity, graph)

    def losses(self, graph: CrystalGraphs, target: Tensor) -> LossTerms:
        members = self._members(self.encoder(graph), graph)
        # Members learn independently: the sum of losses, not the loss of the mean.
        terms = [loss_terms(one, target, self.setting, self.settings.wasserstein_weight) for one in members]
        return {name: torch.stack([each[name] for each in terms]).sum() for name in terms[0]}

    def _members(self, vectors: Tensor, graph: CrystalGraphs) -> Tensor:
        """Activated prediction of every member, shape (n_members, n_crystals, size)."""
        blocks = vectors.split(self.settings.width, dim=1)
        return torch.stack([self._member(head, nodes, graph) for head, nodes in zip(self.heads, blocks, strict=True)])

    def _member(self, head: nn.Module, nodes: Tensor, graph: CrystalGraphs) -> Tensor:
        raw, share = head(nodes)
        weight = share * graph.multiplicity
        if self.setting in (Setting.SUMNORM_KL, Setting.SUMNORM_WD):
            return self._mean_over_atoms(activate(raw, self.setting), weight, graph)
        return activate(self._mean_over_atoms(raw, weight, graph), self.setting)

    def _mean_over_atoms(self, values: Tensor, weight: Tensor, graph: CrystalGraphs) -> Tensor:
        return self.mean_over_atoms(values, graph.batch, graph.ptr, weight=weight)
