"""Crystals as arrays of one shape, and the encoder on them: what many small trainings side by side need.

A batch of graphs has another number of nodes and edges each time. Where all crystals are small, padding them to the
largest costs less than it saves: batches of many models can be stacked, and a step of a training is always the same
sequence of kernels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, softplus

from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.models.encoder import CrystalEncoder

# Added to the score of what is only padding; finite, so that a row of padding gives no NaN.
_NEVER = -1e30


class DenseCrystals(NamedTuple):
    """Crystals of up to m nodes with up to k edges each, padded with multiplicity 0.

    `features` of the elements have shape (n, m, 92), `composition` (n, 104), `multiplicity` (n, m); `neighbour` (a node of
    the same crystal), `length` in Angstrom and `edge_multiplicity` have shape (n, m, k).
    """

    features: Tensor
    composition: Tensor
    multiplicity: Tensor
    neighbour: Tensor
    length: Tensor
    edge_multiplicity: Tensor

    @classmethod
    def of(cls, graphs: CrystalGraphs, encoder: CrystalEncoder) -> DenseCrystals:
        """The same crystals, with the element table of an encoder."""
        n, m = len(graphs), int(graphs.n_nodes.max())
        k = int(graphs.edge_ptr.diff().max())
        nodes = torch.arange(len(graphs.batch)) - graphs.ptr[graphs.batch]
        neighbour, centre = graphs.edges
        crystal = graphs.batch[centre]
        edges = torch.arange(len(centre)) - graphs.edge_ptr[centre]
        place = (crystal, nodes[centre], edges)
        return cls(
            features=_put((n, m), (graphs.batch, nodes), encoder.elements[graphs.atomic_numbers]),
            composition=encoder.pool.composition(graphs.atomic_numbers, graphs.multiplicity, graphs.batch, n),
            multiplicity=_put((n, m), (graphs.batch, nodes), graphs.multiplicity.float()),
            neighbour=_put((n, m, k), place, nodes[neighbour]),
            length=_put((n, m, k), place, graphs.edge_length.float()),
            edge_multiplicity=_put((n, m, k), place, graphs.edge_multiplicity.float()),
        )

    def take(self, indices: Tensor) -> DenseCrystals:
        """Crystals at `indices` of any shape, which takes the place of the first axis."""
        return DenseCrystals(
            *(values.index_select(0, indices.flatten()).view(*indices.shape, *values.shape[1:]) for values in self)
        )

    def to(self, device: torch.device) -> DenseCrystals:
        """The same crystals on a device."""
        return DenseCrystals(*(values.to(device) for values in self))


class DenseEncoder(nn.Module):
    """A `CrystalEncoder` on dense crystals, with the same parameters and the same result.

    The statistics of a training batch are returned, not stored, so that it can be called by `torch.func`.
    """

    def __init__(self, encoder: CrystalEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, crystals: DenseCrystals) -> tuple[Tensor, Tensor]:
        """Vectors of the crystals, shape (n, width), and mean and variance of each layer, (n_layers, 2, width)."""
        encoder = self.encoder
        nodes = encoder.embed_node(crystals.features)
        basis = encoder.basis(crystals.length.flatten()).view(*crystals.length.shape, -1)
        edges = leaky_relu(encoder.embed_edge(basis), 0.2)
        statistics = []
        for layer, norm in zip(encoder.layers, encoder.norms, strict=True):
            given, of_batch = _normalise(norm, _attend(layer, nodes, edges, crystals), crystals.multiplicity > 0)
            nodes = softplus(given)
            statistics.append(of_batch)
        return softplus(self._pool(nodes, crystals)), torch.stack(statistics)

    def _pool(self, nodes: Tensor, crystals: DenseCrystals) -> Tensor:
        composition = crystals.composition[:, None].expand(-1, nodes.shape[1], -1)
        score = self.encoder.pool.score(torch.cat([nodes, composition], dim=-1))
        weights = torch.softmax(score + _log_prior(crystals.multiplicity)[..., None], dim=1)
        return (nodes * weights).sum(dim=1)


def _attend(layer: Any, nodes: Tensor, edges: Tensor, crystals: DenseCrystals) -> Tensor:
    """What `GraphAttention` gives, shape (n, m, width)."""
    n, m, k = crystals.neighbour.shape
    of_nodes, of_edges = layer.node(nodes), layer.edge(edges)
    index = crystals.neighbour.reshape(n, m * k, 1).expand(-1, -1, of_nodes.shape[-1])
    heads = (n, m, k, layer.n_heads, layer.width)
    as_neighbour = softplus(of_nodes.gather(1, index).view(n, m, k, -1) + of_edges).view(heads)
    as_centre = softplus(of_nodes[:, :, None] + of_edges).view(heads)
    scores = softplus((as_centre * layer.attention[0]).sum(dim=-1) + (as_neighbour * layer.attention[1]).sum(dim=-1))
    weights = torch.softmax(scores + _log_prior(crystals.edge_multiplicity)[..., None], dim=2) / layer.n_heads
    return (as_neighbour * weights[..., None]).sum(dim=(2, 3)) + layer.bias


def _normalise(norm: Any, values: Tensor, is_real: Tensor) -> tuple[Tensor, Tensor]:
    """Batch norm over all but the padding, with the mean and the unbiased variance that it would store."""
    if norm.training:
        mask = is_real[..., None].to(values.dtype)
        count = mask.sum()
        mean = (values * mask).sum(dim=(0, 1)) / count
        variance = ((values - mean) ** 2 * mask).sum(dim=(0, 1)) / count
        stored = torch.stack([mean, variance * count / (count - 1)])
    else:
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        stored = torch.stack([mean, variance])
    scaled = (values - mean) * torch.rsqrt(variance + norm.eps) * norm.weight + norm.bias
    return scaled, stored


def _log_prior(multiplicity: Tensor) -> Tensor:
    return multiplicity.clamp_min(1e-9).log() + (multiplicity == 0) * _NEVER


def _put(shape: tuple[int, ...], place: tuple[Tensor, ...], values: Tensor) -> Tensor:
    """Values at places of an array that is zero elsewhere."""
    padded = values.new_zeros(*shape, *values.shape[1:])
    padded[place] = values
    return padded
