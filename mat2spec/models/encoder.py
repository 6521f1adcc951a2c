"""Graph-attention encoder: crystal to one vector (Louis et al., Phys. Chem. Chem. Phys. 22, 18141 (2020)).

Attention between an atom and its neighbours, then attention of the composition over atoms. The
published code averages weights that already sum to one a second time, so that a supercell halves
the vector; here the vector is the weighted sum, which does not depend on the cell.
"""

from __future__ import annotations

from typing import cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, softplus

from mat2spec.crystals.elements import element_features
from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.models.attention import Ends, GraphAttention
from mat2spec.models.fast_attention import Links, attend
from mat2spec.models.pooling import CompositionAttention
from mat2spec.models.softplus import softplus_in_place


class EncoderSettings(BaseModel):
    """Size of the encoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=128, ge=8, description="Width of node and crystal vectors.")
    n_layers: int = Field(default=3, ge=1, description="Graph-attention layers.")
    n_heads: int = Field(default=4, ge=1, description="Attention heads, averaged.")
    cutoff_a: float = Field(default=8.0, gt=0, description="Last centre of the Gaussian distance basis, in Angstrom.")
    basis_step_a: float = Field(default=0.2, gt=0, description="Distance between centres, in Angstrom.")


class GaussianBasis(nn.Module):
    """Expand distances in equidistant Gaussians: (n,) Angstrom to (n, size)."""

    centers: Tensor

    def __init__(self, cutoff_a: float, step_a: float) -> None:
        super().__init__()
        self.size = round(cutoff_a / step_a) + 1
        self.step_a = step_a
        self.register_buffer("centers", torch.linspace(0, cutoff_a, self.size))

    def forward(self, distances: Tensor) -> Tensor:
        return torch.exp(-(((distances[:, None] - self.centers) / self.step_a) ** 2))


class CrystalEncoder(nn.Module):
    """Crystal graphs to vectors, shape (n_crystals, width)."""

    elements: Tensor

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__()
        self.settings = settings
        features = torch.from_numpy(element_features())
        self.register_buffer("elements", features)
        self.basis = GaussianBasis(settings.cutoff_a, settings.basis_step_a)
        self.embed_node = nn.Linear(features.shape[1], settings.width)
        self.embed_edge = nn.Linear(self.basis.size, settings.width)
        self.layers = nn.ModuleList(GraphAttention(settings.width, settings.n_heads) for _ in range(settings.n_layers))
        self.norms = nn.ModuleList(nn.BatchNorm1d(settings.width) for _ in range(settings.n_layers))
        self.pool = CompositionAttention(settings.width)

    def forward(self, graph: CrystalGraphs, links: Links | None = None) -> Tensor:
        """Vectors of crystals; `links` are those of the graph (`Links.of`), where they are known."""
        nodes = self.embed_node(self.elements[graph.atomic_numbers])
        if torch.is_grad_enabled() or nodes.dtype != self.embed_node.weight.dtype:  # mixed precision
            nodes = self._attend(nodes, graph)
        else:
            nodes = self._attend_fast(nodes, Links.of(graph) if links is None else links)
        return softplus(self.pool_nodes(nodes, graph))

    def _attend(self, nodes: Tensor, graph: CrystalGraphs) -> Tensor:
        ends = Ends.of(graph)
        edges = self._embed_lengths(ends.lengths)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            nodes = softplus(norm(layer(nodes, edges, ends, graph.edge_multiplicity)))
        return nodes

    def _attend_fast(self, nodes: Tensor, links: Links) -> Tensor:
        edges = self._embed_lengths(links.lengths)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            nodes = softplus_in_place(norm(attend(cast("GraphAttention", layer), nodes, edges, links)))
        return nodes

    def _embed_lengths(self, lengths: Tensor) -> Tensor:
        return leaky_relu(self.embed_edge(self.basis(lengths)), 0.2)

    def pool_nodes(self, nodes: Tensor, graph: CrystalGraphs) -> Tensor:
        """Vectors of nodes to vectors of crystals, shape (n_crystals, width)."""
        return self.pool(
            nodes, graph.batch, graph.ptr, atomic_numbers=graph.atomic_numbers, multiplicity=graph.multiplicity
        )
