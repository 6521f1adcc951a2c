"""Attention of `mat2spec.models.attention` without gradients: the same numbers to rounding, in pieces that stay in the cache.

The products with the different lengths of a batch, most of which many crystals share, are made once for all of them; what
follows is done for some crystals at a time. Weights of the softmax of softplus(x) are 1 + exp(x) over their sum.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, softplus
from torch_geometric.utils import softmax

from mat2spec.graphs.batch import CrystalGraphs, split_by_edges
from mat2spec.models.attention import Ends, GraphAttention
from mat2spec.models.softplus import softplus_of_small

# Vectors of so many edges, with four heads of 128 numbers at each end, are four megabytes.
EDGES_OF_A_PIECE = 2000
BATCHES_AT_ONCE = 32


class Piece(NamedTuple):
    """Some crystals of a batch; ends and nodes are numbered from their first one.

    Parameters
    ----------
    parts
        Node of each end, and its length as a row behind those of the nodes of the largest piece, shape (n_ends, 2).
    centre, neighbour
        Ends of each edge, shape (n_edges,).
    node
        Node at the centre of each edge, shape (n_edges,).
    rows, first
        All edges, and the first one of each node and one past the last, shape (n_nodes + 1,).
    multiplicity
        Equal links represented by each edge, shape (n_edges, 1).
    """

    parts: Tensor
    centre: Tensor
    neighbour: Tensor
    node: Tensor
    rows: Tensor
    first: Tensor
    multiplicity: Tensor


class Links(NamedTuple):
    """Edges of a batch.

    Parameters
    ----------
    lengths
        Their different lengths in Angstrom, shape (n_lengths,).
    pieces
        The crystals in pieces.
    most_nodes
        Nodes of the largest piece.
    """

    lengths: Tensor
    pieces: tuple[Piece, ...]
    most_nodes: int

    @classmethod
    def of(cls, graph: CrystalGraphs) -> Links:
        """Links of a batch, in one piece on a GPU."""
        ends = Ends.of(graph)
        crystals = np.arange(graph.num_graphs)
        n_edges = graph.n_edges.cpu().numpy()
        most = EDGES_OF_A_PIECE if graph.ptr.device.type == "cpu" else int(n_edges.sum())
        firsts = [int(part[0]) for part in split_by_edges(crystals, n_edges, most)]
        node_bounds = graph.ptr[[*firsts, graph.num_graphs]]
        end_bounds = torch.searchsorted(ends.parts[:, 0].contiguous(), node_bounds).tolist()
        edge_bounds = graph.edge_ptr[node_bounds].tolist()
        bounds = list(zip(node_bounds.tolist(), end_bounds, edge_bounds, strict=True))
        most_nodes = max((stop[0] - start[0] for start, stop in pairwise(bounds)), default=0)
        pieces = [_piece(graph, ends, start, stop, most_nodes) for start, stop in pairwise(bounds)]
        return cls(ends.lengths, tuple(pieces), most_nodes)


def _piece(graph: CrystalGraphs, ends: Ends, start: tuple[int, ...], stop: tuple[int, ...], most_nodes: int) -> Piece:
    """The piece between two triples of a node, an end and an edge."""
    nodes, of_ends, of_edges = (slice(first, last) for first, last in zip(start, stop, strict=True))
    first_edge = graph.edge_ptr[nodes.start : nodes.stop + 1] - of_edges.start
    return Piece(
        parts=ends.parts[of_ends] - ends.parts.new_tensor([nodes.start, len(graph.atomic_numbers) - most_nodes]),
        centre=ends.centre[of_edges] - of_ends.start,
        neighbour=ends.edge_index.as_tensor()[0, of_edges] - of_ends.start,
        node=graph.edges[1, of_edges] - nodes.start,
        rows=torch.arange(of_edges.stop - of_edges.start, device=first_edge.device),
        first=first_edge,
        multiplicity=graph.edge_multiplicity[of_edges, None].float(),
    )


def attend(layer: GraphAttention, nodes: Tensor, edges: Tensor, links: Links) -> Tensor:
    """What a layer gives for node vectors and vectors of the different lengths, shape (n_nodes, width)."""
    table = nodes.new_empty(links.most_nodes + len(edges), layer.n_heads * layer.width)
    torch.mm(edges, layer.edge.weight.T, out=table[links.most_nodes :])
    parts, ends = [], 0
    for piece in links.pieces:
        starts, ends = ends, ends + len(piece.first) - 1
        torch.mm(nodes[starts:ends], layer.node.weight.T, out=table[: ends - starts])
        found = _attend(layer, table, piece)
        if not found.sum().isfinite():
            # An exponential that overflows leaves no finite number.
            found = _attend(layer, table, piece, is_large=True)
        parts.append(found)
    return torch.cat(parts).add_(layer.bias)


def _attend(layer: GraphAttention, table: Tensor, piece: Piece, *, is_large: bool = False) -> Tensor:
    sums = embedding_bag(piece.parts, table, mode="sum")
    hidden = softplus(sums) if is_large or sums.device.type != "cpu" else softplus_of_small(sums)
    by_head = hidden.view(-1, layer.n_heads, layer.width)
    as_centre, as_neighbour = torch.einsum("nhw,shw->snh", by_head, layer.attention).contiguous()
    scores = as_centre.index_select(0, piece.centre).add_(as_neighbour.index_select(0, piece.neighbour))
    weights = _weights_of_large(scores, piece) if is_large else _weights(scores, piece)
    heads = torch.arange(layer.n_heads, device=scores.device)
    return embedding_bag(
        (piece.neighbour[:, None] * layer.n_heads + heads).flatten(),
        hidden.view(-1, layer.width),
        piece.first * layer.n_heads,
        mode="sum",
        per_sample_weights=weights.div_(layer.n_heads).flatten(),
        include_last_offset=True,
    )


def _weights(scores: Tensor, piece: Piece) -> Tensor:
    """Share of each edge at its node, by heads, shape (n_edges, n_heads)."""
    parts = scores.exp_().add_(1).mul_(piece.multiplicity)
    whole = embedding_bag(piece.rows, parts, piece.first, mode="sum", include_last_offset=True)
    return parts.div_(whole.index_select(0, piece.node))


def _weights_of_large(scores: Tensor, piece: Piece) -> Tensor:
    return softmax(softplus(scores) + piece.multiplicity.log(), ptr=piece.first)
