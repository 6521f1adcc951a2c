"""A batch of graphs as torch tensors, and sums over groups of rows."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from mat2spec.graphs import CrystalBatch


@dataclass(frozen=True)
class GraphTensors:
    """What a model reads of a batch of crystals.

    Parameters
    ----------
    atomic_numbers
        Shape (n_nodes,).
    multiplicity
        Atoms that a node stands for, shape (n_nodes,).
    crystal
        Crystal of each node, shape (n_nodes,).
    centre, neighbour
        Nodes at both ends of each edge, shape (n_edges,).
    edge_multiplicity
        Links that an edge stands for, shape (n_edges,).
    lengths
        The different edge lengths of the batch in Angstrom, shape (n_lengths,).
    length_index
        Which of them an edge has, shape (n_edges,).
    n_atoms
        Atoms in each cell, shape (n_crystals,).
    vectors
        From centre to neighbour of each edge in Angstrom, shape (n_edges, 3); None where sites were merged.
    descriptors
        Pretrained vectors of the nodes, shape (n_nodes, width); None without.
    """

    atomic_numbers: Tensor
    multiplicity: Tensor
    crystal: Tensor
    centre: Tensor
    neighbour: Tensor
    edge_multiplicity: Tensor
    lengths: Tensor
    length_index: Tensor
    n_atoms: Tensor
    vectors: Tensor | None = None
    descriptors: Tensor | None = None

    @property
    def n_crystals(self) -> int:
        """Number of crystals in the batch."""
        return len(self.n_atoms)

    def to(self, device: torch.device | str) -> Self:
        """The same batch on a device."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items() if tensor is not None})

    @classmethod
    def from_batch(cls, batch: CrystalBatch) -> Self:
        """Tensors of a batch of graphs; equal edge lengths are listed once."""
        degree = np.diff(batch.edge_offsets)
        crystal = np.repeat(np.arange(len(batch)), batch.n_nodes)
        lengths, length_index = np.unique(batch.distances, return_inverse=True)
        first_node = np.repeat(batch.node_offsets[:-1][crystal], degree)
        return cls(
            atomic_numbers=torch.from_numpy(batch.atomic_numbers.astype(np.int64)),
            multiplicity=torch.from_numpy(batch.multiplicity.astype(np.float32)),
            crystal=torch.from_numpy(crystal),
            centre=torch.from_numpy(np.repeat(np.arange(len(degree)), degree)),
            neighbour=torch.from_numpy(batch.neighbour + first_node),
            edge_multiplicity=torch.from_numpy(batch.edge_multiplicity.astype(np.float32)),
            lengths=torch.from_numpy(lengths.astype(np.float32)),
            length_index=torch.from_numpy(length_index.astype(np.int64)),
            n_atoms=torch.from_numpy(batch.n_atoms.astype(np.float32)),
            vectors=None if batch.vectors is None else torch.from_numpy(batch.vectors),
            descriptors=None if batch.descriptors is None else torch.from_numpy(batch.descriptors),
        )


def sum_by_group(values: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Sum the rows of each group: shape (n_rows, ...) to (n_groups, ...)."""
    return values.new_zeros(n_groups, *values.shape[1:]).index_add_(0, group, values)


def softmax_by_group(scores: Tensor, multiplicity: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Softmax within each group where row i counts `multiplicity[i]` times.

    The weights of a row already hold its multiplicity, so that they sum to one over a group.

    Parameters
    ----------
    scores
        Shape (n_rows, n_heads).
    multiplicity
        Shape (n_rows,).
    group
        Group of each row, shape (n_rows,).
    """
    index = group[:, None].expand_as(scores)
    largest = scores.new_full((n_groups, scores.shape[1]), -torch.inf)
    largest = largest.scatter_reduce(0, index, scores.detach(), "amax")
    weights = torch.exp(scores - largest[group]) * multiplicity[:, None]
    return weights / sum_by_group(weights, group, n_groups)[group]
