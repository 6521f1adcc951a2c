"""Graph-attention encoder: crystal to one vector (Louis et al., Phys. Chem. Chem. Phys. 22, 18141 (2020)).

Attention between an atom and its neighbours, then attention of the composition over atoms. Where
the published code averages weights that already sum to one a second time, so that a supercell
halves the vector, here the weighted sum is the vector: it belongs to the crystal, not to the cell.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, softplus

from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER, element_features
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


class Ends(NamedTuple):
    """The different ends of the edges of a batch: a node seen over a length.

    What attention needs of an end of an edge depends on its node and the length of the edge alone.
    Both ends of an edge are looked up among these, which are about half as many: an edge and its
    reverse share theirs, and so do edges of one node over one length.

    Parameters
    ----------
    node, length_index
        Of each end, shape (n_ends,).
    centre, neighbour
        Which end is that of each edge, shape (n_edges,).
    offsets
        First edge of each node and one past the last, shape (n_nodes + 1,).
    """

    node: Tensor
    length_index: Tensor
    centre: Tensor
    neighbour: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, graph: GraphTensors) -> Ends:
        """Ends of a batch whose edges are ordered by centre."""
        n_lengths = len(graph.lengths)
        keys = torch.cat([graph.centre, graph.neighbour]) * n_lengths + graph.length_index.repeat(2)
        ends, where = torch.unique(keys, return_inverse=True)
        node = torch.div(ends, max(n_lengths, 1), rounding_mode="floor")
        degree = torch.bincount(graph.centre, minlength=len(graph.atomic_numbers))
        n_edges = len(graph.centre)
        return cls(
            node=node,
            length_index=ends - node * n_lengths,
            centre=where[:n_edges],
            neighbour=where[n_edges:],
            offsets=torch.cat([degree.new_zeros(1), degree.cumsum(0)]),
        )


class GraphAttention(nn.Module):
    """Attention of an atom over its neighbours with edge features, heads averaged.

    The weight matrix that acts on [node, edge] is held as a node part and an edge part, so that
    the first is applied once per node and the second once per different edge length. Their sum is
    taken once per different end (`Ends`), and messages are summed without a tensor of all of them.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.width, self.n_heads = width, n_heads
        self.node = nn.Linear(width, n_heads * width, bias=False)
        self.edge = nn.Linear(width, n_heads * width, bias=False)
        self.attention = nn.Parameter(torch.empty(2, n_heads, width))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.attention)

    def forward(self, nodes: Tensor, edges: Tensor, graph: GraphTensors, ends: Ends) -> Tensor:
        """New node vectors, shape (n_nodes, width), from `nodes` and `edges` (n_lengths, width)."""
        per_edge = self.edge(edges).index_select(0, ends.length_index)
        hidden = softplus(self.node(nodes).index_select(0, ends.node) + per_edge)
        as_centre, as_neighbour = (hidden @ self._score_matrix().to(hidden.dtype)).split(self.n_heads, dim=1)
        scores = softplus(as_centre.index_select(0, ends.centre) + as_neighbour.index_select(0, ends.neighbour))
        weights = softmax_by_group(scores, graph.edge_multiplicity, graph.centre, len(nodes)) / self.n_heads
        return self._sum_messages(hidden, weights, ends) + self.bias

    def _score_matrix(self) -> Tensor:
        """Attention vectors as columns that each see their own head, shape (n_heads * width, 2 * n_heads)."""
        own_head = torch.eye(self.n_heads, dtype=self.attention.dtype, device=self.attention.device)
        blocks = self.attention[:, :, :, None] * own_head[None, :, None, :]
        return blocks.permute(1, 2, 0, 3).reshape(self.n_heads * self.width, 2 * self.n_heads)

    def _sum_messages(self, hidden: Tensor, weights: Tensor, ends: Ends) -> Tensor:
        """Sum of `weights` (n_edges, n_heads) times the heads of the neighbours, shape (n_nodes, width)."""
        heads = torch.arange(self.n_heads, device=hidden.device)
        return embedding_bag(
            (ends.neighbour[:, None] * self.n_heads + heads).flatten(),
            hidden.view(-1, self.width),
            ends.offsets * self.n_heads,
            mode="sum",
            per_sample_weights=weights.to(hidden.dtype).flatten(),
            include_last_offset=True,
        )


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
        ends = Ends.of(graph)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            nodes = softplus(norm(layer(nodes, edges, graph, ends)))
        return softplus(self.pool(nodes, graph))
