"""The convolution of SevenNet over the edges of a graph, for inference: three times as fast as the packaged one on a CPU.

Atoms that are images of others need no sums of their own (`mat2spec.descriptors.site_images`).

The tensor product of the features of a neighbour with the spherical harmonics of the edge is a product with a small matrix
for each edge, one for all paths that start from features of one degree. Edges are taken in pieces that stay in the cache of
the processor.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from e3nn.o3 import wigner_3j
from torch import Tensor, nn

EDGES_PER_PIECE = 512
# Where the data of a graph hold how features of all atoms follow from those of the representatives.
KEY_IMAGES = "site_images"


class FeatureImages(NamedTuple):
    """How features of all atoms follow from those of their representatives.

    Parameters
    ----------
    row
        Of the representative of each atom, shape (n_atoms,).
    by_degree
        Rotation matrices of the spherical harmonics of each degree, for rows, shape (n_atoms, 2 l + 1, 2 l + 1).
    """

    row: Tensor
    by_degree: tuple[Tensor, ...]

    def of(self, features: Tensor) -> Tensor:
        """Features of one degree of all atoms, shape (n_atoms, multiplicity, 2 l + 1), from those of the representatives."""
        all_atoms = features[self.row]
        dimension = features.shape[2]
        return all_atoms if dimension == 1 else torch.bmm(all_atoms, self.by_degree[dimension // 2])


class _Path(NamedTuple):
    """Columns of one path: in the product, of its weights, and in the output."""

    product: slice
    weights: slice
    output: slice


class _Source(NamedTuple):
    """Features of one degree and all paths that start there.

    Parameters
    ----------
    features
        Their columns.
    multiplicity, dimension
        How many there are, and components of each.
    paths
        Where they lead.
    """

    features: slice
    multiplicity: int
    dimension: int
    paths: list[_Path]


class EdgeConvolution(nn.Module):
    """Takes the place of `sevenn.nn.convolution.IrrepsConvolution`, with the same weights and data.

    Parameters
    ----------
    packaged
        The convolution to be replaced.
    """

    denominator: Tensor

    def __init__(self, packaged: Any) -> None:
        super().__init__()
        product = packaged.convolution
        self.weight_nn = packaged.weight_nn
        self.keys = (packaged.key_x, packaged.key_filter, packaged.key_weight_input, packaged.key_edge_idx)
        self.register_buffer("denominator", packaged.denominator.detach())
        self.width = product.irreps_out.dim
        self.sources = _sources(product)
        for number, source in enumerate(self.sources):
            self.register_buffer(f"couplings_{number}", _couplings(product, number, source))

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        """Replace the features of the atoms by the sums over their edges."""
        key_x, *others = self.keys
        harmonics, lengths, (end, start) = (data[key] for key in others)
        images = cast("FeatureImages | None", data.get(KEY_IMAGES))
        sums = self.convolve(data[key_x], harmonics, self.weight_nn(lengths), start, end, images)
        data[key_x] = sums / self.denominator
        return data

    def convolve(
        self,
        features: Tensor,
        harmonics: Tensor,
        weights: Tensor,
        start: Tensor,
        end: Tensor,
        images: FeatureImages | None = None,
    ) -> Tensor:
        """Sums over the edges of each atom, shape (n_atoms, width).

        Parameters
        ----------
        features
            Of the atoms, shape (n_atoms, width of the input).
        harmonics, weights
            Of the edges, shape (n_edges, 9) and (n_edges, number of weights).
        start, end
            Where features come from and where they are summed, shape (n_edges,).
        images
            How features of the atoms at `start` follow from the given ones, which are those of the atoms at `end`; by
            default they are the same atoms.
        """
        n_atoms, n_edges = len(features), len(start)
        piece = EDGES_PER_PIECE if features.device.type == "cpu" else max(n_edges, 1)
        sums = features.new_empty(n_atoms, self.width)
        for number, source in enumerate(self.sources):
            couplings = cast("Tensor", getattr(self, f"couplings_{number}"))
            matrices = (harmonics @ couplings).unflatten(1, (source.dimension, -1))
            of_source = features[:, source.features].unflatten(1, (source.multiplicity, source.dimension))
            if images is not None:
                of_source = images.of(of_source)
            total = features.new_zeros(n_atoms, source.multiplicity, matrices.shape[2])
            for first in range(0, n_edges, piece):
                rows = slice(first, first + piece)
                gathered = of_source[start[rows]]
                messages = gathered * matrices[rows] if source.dimension == 1 else torch.bmm(gathered, matrices[rows])
                for path in source.paths:
                    messages[:, :, path.product] *= weights[rows, path.weights, None]
                total.index_add_(0, end[rows], messages)
            for path in source.paths:
                sums[:, path.output] = total[:, :, path.product].flatten(1)
        return sums


def _sources(product: Any) -> list[_Source]:
    sources: list[_Source] = []
    inputs, outputs = product.irreps_in1.slices(), product.irreps_out.slices()
    for number, (multiplicity, irrep) in enumerate(product.irreps_in1):
        paths, column, weight = [], 0, 0
        for path in product.instructions:
            n_weights, width = product.irreps_in1[path.i_in1].mul, product.irreps_out[path.i_out].ir.dim
            if path.i_in1 == number:
                columns = slice(column, column + width)
                paths.append(_Path(columns, slice(weight, weight + n_weights), outputs[path.i_out]))
                column += width
            weight += n_weights
        sources.append(_Source(inputs[number], multiplicity, irrep.dim, paths))
    return sources


def _couplings(product: Any, number: int, source: _Source) -> Tensor:
    """From spherical harmonics to the matrices of the edges, shape (9, dimension x columns of all paths)."""
    degree, filters = product.irreps_in1[number].ir.l, product.irreps_in2
    parts = []
    for path in (path for path in product.instructions if path.i_in1 == number):
        coupling = torch.zeros(source.dimension, filters.dim, product.irreps_out[path.i_out].ir.dim)
        coupling[:, filters.slices()[path.i_in2]] = path.path_weight * wigner_3j(
            degree, filters[path.i_in2].ir.l, product.irreps_out[path.i_out].ir.l
        )
        parts.append(coupling)
    return torch.cat(parts, dim=2).transpose(0, 1).flatten(1)
