"""Merging of equivalent sites: one node for all atoms that message passing cannot distinguish.

A supercell thus has the graph of its primitive cell, and high-symmetry cells cost a fraction. The merging is exact for
every model with at most `refinement_rounds` layers whose pooling weights nodes by their multiplicity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.utils import coalesce, cumsum, scatter

from mat2spec.graphs.batch import CrystalGraphs, rows_between
from mat2spec.graphs.ends import different_ends
from mat2spec.graphs.settings import GraphSettings

# Of descriptors, whose means are taken in double precision: few, as all sites of a shard have them.
_COLUMNS_AT_ONCE = 16
_HASH_PRIME = np.uint64(0x9E3779B97F4A7C15)


def merge_equivalent_sites(graphs: CrystalGraphs, settings: GraphSettings) -> CrystalGraphs:
    """Merge the nodes that message passing cannot distinguish, then the equal edges of a node.

    Colour refinement (Weisfeiler and Leman): two nodes stay equal while their element and the
    multiset of (distance, neighbour's colour) are equal.
    """
    node_of, lowest = _equivalent_nodes(graphs, settings)
    n_nodes = len(lowest)
    rows, first = rows_between(graphs.edge_ptr[lowest], graphs.edge_ptr[lowest + 1])
    edges = merge_equal_edges(
        neighbour=node_of[graphs.edges[0, rows]],
        centre=torch.repeat_interleave(first.diff(), output_size=len(rows)),
        length=graphs.edge_length[rows],
        multiplicity=graphs.edge_multiplicity[rows],
    )
    attributes = {"edge_length": edges.length, "edge_multiplicity": edges.multiplicity, "n_atoms": graphs.n_atoms}
    if "descriptors" in graphs:
        # Equivalent atoms may differ by rounding, or in angles.
        columns = graphs.descriptors.split(_COLUMNS_AT_ONCE, dim=1)
        means = [scatter(part.double(), node_of, dim_size=n_nodes, reduce="mean").float() for part in columns]
        attributes["descriptors"] = torch.cat(means, dim=1)
    return CrystalGraphs.join(
        cumsum(torch.bincount(graphs.batch[lowest], minlength=graphs.num_graphs)),
        torch.stack([edges.neighbour, edges.centre]),
        atomic_numbers=graphs.atomic_numbers[lowest],
        multiplicity=scatter(graphs.multiplicity, node_of, dim_size=n_nodes),
        **attributes,
    )


class MergedEdges(NamedTuple):
    """Edges ordered by centre, neighbour and length, each of shape (n_edges,)."""

    neighbour: Tensor
    centre: Tensor
    length: Tensor
    multiplicity: Tensor


def merge_equal_edges(neighbour: Tensor, centre: Tensor, length: Tensor, multiplicity: Tensor) -> MergedEdges:
    """Merge the edges between the same nodes over the same length; their multiplicities are added."""
    node, length, end = different_ends(neighbour, length)
    size = max(len(node), int(centre.max()) + 1 if len(centre) else 0)
    (end, centre), multiplicity = coalesce(
        torch.stack([end, centre]), multiplicity, num_nodes=size, reduce="sum", sort_by_row=False
    )
    return MergedEdges(node[end], centre, length[end], multiplicity)


def _equivalent_nodes(graphs: CrystalGraphs, settings: GraphSettings) -> tuple[Tensor, Tensor]:
    """Merged node of each node, and the lowest of the nodes that each merged node represents."""
    crystal, colours = graphs.batch.numpy(), _refine_colours(graphs, settings)
    # Colours are compared only within a crystal.
    order = np.lexsort((colours, crystal))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (crystal[order][1:] != crystal[order][:-1]) | (colours[order][1:] != colours[order][:-1])
    node_of = np.empty(len(order), dtype=np.int64)
    node_of[order] = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    lowest = np.minimum.reduceat(order, starts) if len(starts) else starts
    return torch.from_numpy(node_of), torch.from_numpy(lowest)


def _refine_colours(graphs: CrystalGraphs, settings: GraphSettings) -> NDArray[np.uint64]:
    neighbour, edge_ptr = graphs.edges[0].numpy(), graphs.edge_ptr.numpy()
    length = np.rint(graphs.edge_length.numpy() / settings.distance_resolution_a).astype(np.uint64)
    colours = _scramble(graphs.atomic_numbers.numpy().astype(np.uint64))
    for _ in range(settings.refinement_rounds):
        messages = _scramble(_scramble(length) ^ colours[neighbour])
        totals = np.concatenate([[np.uint64(0)], np.cumsum(messages, dtype=np.uint64)])
        gathered = totals[edge_ptr[1:]] - totals[edge_ptr[:-1]]
        colours = _scramble(gathered + _scramble(colours))
    return colours


def _scramble(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64-bit integers (the finaliser of splitmix64), so that their sums distinguish multisets."""
    values = (values + _HASH_PRIME).astype(np.uint64)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
