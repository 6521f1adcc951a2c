"""Attention of an atom over its neighbours, as message passing from the ends of edges to nodes."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, softplus
from torch_geometric import EdgeIndex
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import softmax

from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.graphs.ends import different_ends


class Ends(NamedTuple):
    """The distinct ends of the edges of a batch: pairs of a node and a length.

    The attention terms of an end depend only on its node and the length of the edge. Both ends of an
    edge are looked up among these, which are about half as many as the edges: an edge and its reverse
    share theirs, as do edges of one node with one length.

    Parameters
    ----------
    lengths
        The different edge lengths of the batch in Angstrom, shape (n_lengths,).
    parts
        Node of each end, and its length as a row behind those of all nodes, shape (n_ends, 2).
    centre
        End at the centre of each edge, shape (n_edges,).
    edge_index
        An `EdgeIndex` of shape (2, n_edges), ordered by its second row: from the ends at the neighbours to the nodes
        at the centres.
    """

    lengths: Tensor
    parts: Tensor
    centre: Tensor
    edge_index: EdgeIndex

    @classmethod
    def of(cls, graph: CrystalGraphs) -> Ends:
        """Ends of a batch."""
        neighbour, centre = graph.edges
        n_edges, n_nodes = len(centre), len(graph.atomic_numbers)
        node, length, end = different_ends(torch.cat([centre, neighbour]), graph.edge_length.repeat(2))
        lengths, length_index = length.unique(return_inverse=True)
        return cls(
            lengths=lengths,
            parts=torch.stack([node, n_nodes + length_index], dim=1),
            centre=end[:n_edges],
            edge_index=EdgeIndex(
                torch.stack([end[n_edges:], centre]), sparse_size=(len(node), n_nodes), sort_order="col"
            ),
        )


class GraphAttention(MessagePassing):
    """Attention of an atom over its neighbours with edge features, heads averaged.

    The weight matrix acting on [node, edge] is split into a node part and an edge part, so that the
    first is applied once per node and the second once per distinct edge length. They are added once
    per distinct end (`Ends`), and messages are summed without storing all of them. Without gradients
    `mat2spec.models.fast_attention` gives the same.
    """

    SUPPORTS_FUSED_EDGE_INDEX: Final[bool] = True

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__(aggr="sum")
        self.width, self.n_heads = width, n_heads
        self.node = nn.Linear(width, n_heads * width, bias=False)
        self.edge = nn.Linear(width, n_heads * width, bias=False)
        self.attention = nn.Parameter(torch.empty(2, n_heads, width))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.attention)

    def forward(self, nodes: Tensor, edges: Tensor, ends: Ends, multiplicity: Tensor) -> Tensor:
        """New node vectors, shape (n_nodes, width).

        Parameters
        ----------
        nodes
            Node vectors, shape (n_nodes, width).
        edges
            Vectors of the different edge lengths, shape (n_lengths, width).
        ends
            The ends of the edges.
        multiplicity
            Equal links represented by each edge, shape (n_edges,): a prior of the attention, so that the weight of an
            edge is the sum of those of its links.
        """
        # Sum of the node part and the length part row by row, without a tensor of either.
        sums = embedding_bag(ends.parts, torch.cat([self.node(nodes), self.edge(edges)]), mode="sum")
        hidden = softplus(sums)
        as_centre, as_neighbour = self._scores(hidden)
        neighbour = ends.edge_index.as_tensor()[0]
        scores = softplus(as_centre.index_select(0, ends.centre) + as_neighbour.index_select(0, neighbour))
        weights = softmax(scores + multiplicity.log()[:, None], ptr=ends.edge_index.get_indptr()) / self.n_heads
        return self.propagate(ends.edge_index, x=(hidden, None), weights=weights) + self.bias

    def _scores(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """Terms of the attention of each end as a centre and as a neighbour, each of shape (n_ends, n_heads)."""
        # One matrix product over all heads, mostly with zeros, has the faster gradient.
        own_head = torch.block_diag(*self.attention.permute(1, 2, 0))
        return (hidden @ own_head).view(-1, self.n_heads, 2).unbind(dim=2)

    def message(self, x_j: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of the heads of every neighbour, shape (n_edges, width): the unfused message."""
        return (x_j.view(-1, self.n_heads, self.width) * weights[:, :, None]).sum(dim=1)

    def message_and_aggregate(self, edge_index: EdgeIndex, x: tuple[Tensor, Tensor | None], weights: Tensor) -> Tensor:
        """Sum of `message` over the edges of each node, shape (n_nodes, width), without storing all messages."""
        hidden, heads = x[0], torch.arange(self.n_heads, device=weights.device)
        return embedding_bag(
            (edge_index.as_tensor()[0][:, None] * self.n_heads + heads).flatten(),
            hidden.view(-1, self.width),
            edge_index.get_indptr() * self.n_heads,
            mode="sum",
            per_sample_weights=weights.to(hidden.dtype).flatten(),
            include_last_offset=True,
        )
