"""Pooling of node vectors to one vector per crystal; nodes are weighted by their number of atoms."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.utils import scatter, softmax

from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER
from mat2spec.models.softplus import softplus_in_place


class WeightedMean(Aggregation):
    """Mean of the rows of a crystal with weights, shape (n_nodes, width) to (n_crystals, width)."""

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
        *,
        weight: Tensor,
    ) -> Tensor:
        total = self.reduce(weight[:, None], index, ptr, dim_size, dim)
        return self.reduce(x * weight[:, None], index, ptr, dim_size, dim) / total


class CompositionAttention(Aggregation):
    """Attention over the atoms of a crystal, with weights that depend on the whole composition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        n_elements = MAX_ATOMIC_NUMBER + 1
        self.score = nn.Sequential(nn.Linear(width + n_elements, width), nn.Softplus(), nn.Linear(width, 1))
        self.n_elements = n_elements

    def composition(self, atomic_numbers: Tensor, multiplicity: Tensor, index: Tensor, n_crystals: int) -> Tensor:
        """Fraction of each element, shape (n_crystals, MAX_ATOMIC_NUMBER + 1)."""
        element = index * self.n_elements + atomic_numbers
        counts = scatter(multiplicity, element, dim_size=n_crystals * self.n_elements)
        counts = counts.view(n_crystals, self.n_elements)
        return counts / counts.sum(dim=1, keepdim=True)

    def forward(
        self,
        x: Tensor,
        index: Tensor,
        ptr: Tensor,
        dim_size: int | None = None,
        dim: int = -2,
        *,
        atomic_numbers: Tensor,
        multiplicity: Tensor,
    ) -> Tensor:
        n_crystals = len(ptr) - 1
        composition = self.composition(atomic_numbers, multiplicity, index, n_crystals)
        # The part of the composition is the same for all nodes of a crystal.
        first, _, last = self.score
        assert isinstance(first, nn.Linear)
        of_node, of_crystal = first.weight.split([x.shape[1], self.n_elements], dim=1)
        hidden = linear(x, of_node) + linear(composition, of_crystal, first.bias).index_select(0, index)
        score = last(softplus(hidden) if torch.is_grad_enabled() else softplus_in_place(hidden))
        weights = softmax(score + multiplicity.log()[:, None], ptr=ptr)
        return self.reduce(x * weights, index, ptr, dim_size, dim)
