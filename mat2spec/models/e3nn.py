"""E3NN, the equivariant baseline (Chen et al., Adv. Sci. 8, 2004214 (2021)), built on the library e3nn.

Atoms are one-hot elements weighted with their mass, as in the published model of phonon spectra.
Messages are tensor products of atom features with the spherical harmonics of edge vectors; the
invariant features are pooled as a mean over atoms. Unlike the published code, which links all
atoms within 4 Angstrom, graphs have the same neighbours as for all other models here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import one_hot, silu
from torch_geometric.nn import MessagePassing

from mat2spec.crystals.elements import MAX_ATOMIC_NUMBER, atomic_masses
from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.graphs.settings import GraphSettings
from mat2spec.models.base import LossTerms, ModelSettings, SpectrumModel
from mat2spec.models.pooling import WeightedMean
from mat2spec.spectra.normalisation import Setting, activate, prediction_loss

if TYPE_CHECKING:
    from e3nn import o3


class E3nnSettings(ModelSettings):
    """Sizes of E3NN."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=32, ge=4, description="Scalar features; those of order l are width / 2^l.")
    max_order: int = Field(default=1, ge=0, le=4, description="Highest order l of features and harmonics.")
    n_layers: int = Field(default=2, ge=1, description="Equivariant convolutions before the last, invariant one.")
    pooled: int = Field(default=64, ge=4, description="Invariant features of an atom that are pooled.")
    type_width: int = Field(default=16, ge=1, description="Width of the element vector in self-connections.")
    n_radial: int = Field(default=12, ge=1, description="Radial basis functions.")
    radial_width: int = Field(default=32, ge=1, description="Hidden width of the radial networks.")
    cutoff_a: float = Field(
        default=6.0, gt=0, description="Distance at which messages have decayed to zero, in Angstrom."
    )
    typical_neighbours: float = Field(
        default=14.0, gt=0, description="Typical number of neighbours, whose square root divides sums over them."
    )

    def adapt_graphs(self, settings: GraphSettings) -> GraphSettings:
        """Graphs of all atoms: merged sites have no edge vectors."""
        return settings.model_copy(update={"merge_sites": False})


class E3nn(SpectrumModel):
    """Equivariant encoder and a linear head."""

    settings_class = E3nnSettings
    settings: E3nnSettings

    def __init__(self, settings: E3nnSettings, size: int, setting: Setting) -> None:
        super().__init__(settings, size, setting)
        self.encoder = EquivariantEncoder(settings)
        self.head = nn.Linear(settings.pooled, size)

    def forward_from_vectors(self, vectors: Tensor, graph: CrystalGraphs) -> Tensor:  # noqa: ARG002
        return activate(self.head(vectors), self.setting)

    def losses(self, graph: CrystalGraphs, target: Tensor) -> LossTerms:
        return {"prediction": prediction_loss(self(graph), target, self.setting)}


class EquivariantEncoder(nn.Module):
    """Crystal graphs with edge vectors to invariant vectors, shape (n_crystals, pooled)."""

    masses: Tensor

    def __init__(self, settings: E3nnSettings) -> None:
        super().__init__()
        from e3nn import o3

        self.settings = settings
        masses = torch.from_numpy(atomic_masses())
        self.register_buffer("masses", masses / masses[1:].mean())
        n_elements = MAX_ATOMIC_NUMBER + 1
        self.embed_mass = nn.Linear(n_elements, settings.width)
        self.embed_type = nn.Embedding(n_elements, settings.type_width)
        self.harmonics = o3.SphericalHarmonics(
            o3.Irreps.spherical_harmonics(settings.max_order), normalize=True, normalization="component"
        )
        irreps = o3.Irreps([(settings.width, (0, 1))])
        layers: list[nn.Module] = []
        for _ in range(settings.n_layers):
            layers.append(GatedConvolution(irreps, settings))
            irreps = hidden_irreps(settings)
        self.layers = nn.ModuleList(layers)
        self.last = Convolution(irreps, o3.Irreps([(settings.pooled, (0, 1))]), settings)
        self.pool = WeightedMean()

    def forward(self, graph: CrystalGraphs) -> Tensor:
        if "edge_vector" not in graph:
            raise ValueError("The model e3nn needs edge vectors: make its graphs with merge_sites=false.")
        numbers = graph.atomic_numbers
        weighted = one_hot(numbers, len(self.masses)) * self.masses[numbers, None]
        nodes = silu(self.embed_mass(weighted))
        types = self.embed_type(numbers)
        harmonics = self.harmonics(graph.edge_vector)
        lengths, length_index = graph.edge_length.unique(return_inverse=True)
        edges = EquivariantEdges(
            graph.edges, harmonics, self._radial_basis(lengths), length_index, graph.edge_multiplicity
        )
        for layer in self.layers:
            nodes = layer(nodes, types, edges)
        invariants = silu(self.last(nodes, types, edges))
        return self.pool(invariants, graph.batch, graph.ptr, weight=graph.multiplicity)

    def _radial_basis(self, lengths: Tensor) -> Tensor:
        from e3nn.math import soft_one_hot_linspace

        size = self.settings.n_radial
        basis = soft_one_hot_linspace(lengths, 0.0, self.settings.cutoff_a, size, basis="smooth_finite", cutoff=True)
        return basis * math.sqrt(size)


class EquivariantEdges(NamedTuple):
    """The edges of a batch as used by convolutions.

    Parameters
    ----------
    edge_index
        From neighbours to centres, shape (2, n_edges).
    harmonics
        Spherical harmonics of the edge vectors, shape (n_edges, (max_order + 1)^2).
    radial
        Radial basis of the different edge lengths, shape (n_lengths, n_radial).
    length_index
        Which of them an edge has, shape (n_edges,).
    multiplicity
        Links that an edge stands for, shape (n_edges,).
    """

    edge_index: Tensor
    harmonics: Tensor
    radial: Tensor
    length_index: Tensor
    multiplicity: Tensor


class Convolution(MessagePassing):
    """One equivariant convolution with an element-dependent self-connection.

    Radial networks act on the distinct edge lengths of a batch, not on every edge.
    """

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps, settings: E3nnSettings) -> None:
        super().__init__(aggr="sum")
        from e3nn import o3
        from e3nn.nn import FullyConnectedNet

        harmonics = o3.Irreps.spherical_harmonics(settings.max_order)
        self.scale = 1 / math.sqrt(settings.typical_neighbours)
        types = o3.Irreps([(settings.type_width, (0, 1))])
        self.itself = o3.FullyConnectedTensorProduct(irreps_in, types, irreps_out)
        self.before = o3.Linear(irreps_in, irreps_in)
        self.product = channelwise_product(irreps_in, harmonics, irreps_out)
        self.radial = FullyConnectedNet([settings.n_radial, settings.radial_width, self.product.weight_numel], silu)
        self.after = o3.Linear(self.product.irreps_out, irreps_out)

    def forward(self, nodes: Tensor, types: Tensor, edges: EquivariantEdges) -> Tensor:
        weights = self.radial(edges.radial)[edges.length_index] * edges.multiplicity[:, None]
        received = self.propagate(edges.edge_index, x=self.before(nodes), harmonics=edges.harmonics, weights=weights)
        return self.itself(nodes, types) + self.after(received * self.scale)

    def message(self, x_j: Tensor, harmonics: Tensor, weights: Tensor) -> Tensor:
        """Tensor product of the features of every neighbour with the harmonics of its edge."""
        return self.product(x_j, harmonics, weights)


class GatedConvolution(nn.Module):
    """Convolution followed by a gate: scalars are activated, all else is multiplied by activated scalars."""

    def __init__(self, irreps_in: o3.Irreps, settings: E3nnSettings) -> None:
        super().__init__()
        from e3nn import o3
        from e3nn.nn import Gate

        hidden = hidden_irreps(settings)
        scalars, gated = hidden[:1], hidden[1:]
        gates = o3.Irreps([(gated.num_irreps, (0, 1))] if len(gated) else [])
        self.gate = Gate(scalars, [silu], gates, [torch.sigmoid] * len(gates), gated)
        self.convolution = Convolution(irreps_in, self.gate.irreps_in, settings)

    def forward(self, nodes: Tensor, types: Tensor, edges: EquivariantEdges) -> Tensor:
        return self.gate(self.convolution(nodes, types, edges))


def hidden_irreps(settings: E3nnSettings) -> o3.Irreps:
    """Features of the hidden layers: order l with parity (-1)^l and width / 2^l channels."""
    from e3nn import o3

    return o3.Irreps(
        [(max(1, settings.width >> order), (order, (-1) ** order)) for order in range(settings.max_order + 1)]
    )


def channelwise_product(irreps_in: o3.Irreps, harmonics: o3.Irreps, irreps_out: o3.Irreps) -> o3.TensorProduct:
    """Products of every channel with every harmonic whose irreps are in `irreps_out`; one weight each."""
    from e3nn import o3

    wanted = {irrep for _, irrep in irreps_out}
    paths = [
        (channels, irrep, i, j)
        for i, (channels, of_node) in enumerate(irreps_in)
        for j, (_, of_edge) in enumerate(harmonics)
        for irrep in of_node * of_edge
        if irrep in wanted
    ]
    # Sorted, so that the linear layer that follows can join equal kinds.
    paths.sort(key=lambda path: (path[1], path[2], path[3]))
    middle = o3.Irreps([(channels, irrep) for channels, irrep, _, _ in paths])
    instructions = [(i, j, k, "uvu", True) for k, (_, _, i, j) in enumerate(paths)]
    return o3.TensorProduct(irreps_in, harmonics, middle, instructions, internal_weights=False, shared_weights=False)
