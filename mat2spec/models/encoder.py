"""Graph-attention encoder: crystal to one vector (Louis et al., Phys. Chem. Chem. Phys. 22, 18141 (2020)).

Attention between an atom and its neighbours, then attention of the composition over atoms. Where
the published code averages weights that already sum to one a second time, so that a supercell
halves the vector, here the weighted sum is the vector: it belongs to the crystal, not to the cell.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from mat2spec.crystals import MAX_ATOMIC_NUMBER
from mat2spec.elements import element_features
from mat2spec.tensors import GraphTensors, softmax_by_group, sum_by_group


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


class GraphAttention(nn.Module):
    """Attention of an atom over its neighbours with edge features, heads averaged.

    The weight matrix that acts on [node, edge] is held as a node part and an edge part, so that
    the first is applied once per node and the second once per different edge length.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.width, self.n_heads = width, n_heads
        self.node = nn.Linear(width, n_heads * width, bias=False)
        self.edge = nn.Linear(width, n_heads * width, bias=False)
        self.attention = nn.Parameter(torch.empty(2, n_heads, width))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.attention)

    def forward(self, nodes: Tensor, edges: Tensor, graph: GraphTensors) -> Tensor:
        """New node vectors, shape (n_nodes, width), from `nodes` and `edges` (n_lengths, width)."""
        per_node = self.node(nodes)
        per_edge = self.edge(edges)[graph.length_index]
        shape = (-1, self.n_heads, self.width)
        centre = softplus(per_node[graph.centre].add_(per_edge)).view(shape)
        neighbour = softplus(per_node[graph.neighbour].add_(per_edge)).view(shape)
        scores = torch.einsum("ehd,hd->eh", centre, self.attention[0])
        scores = softplus(scores + torch.einsum("ehd,hd->eh", neighbour, self.attention[1]))
        weights = softmax_by_group(scores, graph.edge_multiplicity, graph.centre, len(nodes)) / self.n_heads
        messages = torch.einsum("ehd,eh->ed", neighbour, weights)
        return sum_by_group(messages, graph.centre, len(nodes)) + self.bias


class CompositionAttention(nn.Module):
    """Pool nodes to one vector per crystal; the weight of an atom is judged against the whole composition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        n_elements = MAX_ATOMIC_NUMBER + 1
        self.score = nn.Sequential(nn.Linear(width + n_elements, width), nn.Softplus(), nn.Linear(width, 1))
        self.n_elements = n_elements

    def composition(self, graph: GraphTensors) -> Tensor:
        """Fraction of each element, shape (n_crystals, MAX_ATOMIC_NUMBER + 1)."""
        flat = graph.crystal * self.n_elements + graph.atomic_numbers
        counts = sum_by_group(graph.multiplicity, flat, graph.n_crystals * self.n_elements)
        return counts.view(graph.n_crystals, self.n_elements) / graph.n_atoms[:, None]

    def forward(self, nodes: Tensor, graph: GraphTensors) -> Tensor:
        judged = torch.cat([nodes, self.composition(graph)[graph.crystal]], dim=1)
        weights = softmax_by_group(self.score(judged), graph.multiplicity, graph.crystal, graph.n_crystals)
        return sum_by_group(nodes * weights, graph.crystal, graph.n_crystals)


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

    def forward(self, graph: GraphTensors) -> Tensor:
        nodes = self.embed_node(self.elements[graph.atomic_numbers])
        edges = nn.functional.leaky_relu(self.embed_edge(self.basis(graph.lengths)), 0.2)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            nodes = softplus(norm(layer(nodes, edges, graph)))
        return softplus(self.pool(nodes, graph))
