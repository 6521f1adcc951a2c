"""The convolution of SevenNet over the edges of a graph, for inference, in a form that suits processors.

Atoms that are images of others need no sums of their own (`mat2spec.descriptors.site_images`), and the network of radial
weights reads each length once.

Of each path of the tensor product, the sum over the edges of an atom is one matrix product: of the features of the
neighbours, times the radial weights, with spherical harmonics that are coupled to the degree of the output. Atoms are taken
in pieces whose edges stay in the cache of the processor.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from e3nn.o3 import wigner_3j
from torch import Tensor, nn

from mat2spec.descriptors.edges_by_atom import EdgesByAtom

# Where the data of a graph hold how features of all atoms follow from those of the representatives, and its edges by atom.
KEY_IMAGES, KEY_EDGES = "site_images", "edges_by_atom"


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

    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        """Replace the features of the atoms by the sums over their edges."""
        key_x, key_harmonics, key_lengths, _ = self.keys
        edges: EdgesByAtom = data[KEY_EDGES]
        weights = self.weight_nn(data[key_lengths][edges.examples])
        sums = self.convolve(data[key_x], data[key_harmonics], weights, edges, data.get(KEY_IMAGES))
        data[key_x] = sums / self.denominator
        return data

    def convolve(
        self,
        features: Tensor,
        harmonics: Tensor,
        weights: Tensor,
        edges: EdgesByAtom,
        images: FeatureImages | None = None,
    ) -> Tensor:
        """Sums over the edges of each atom, shape (n_atoms, width).

        Parameters
        ----------
        features
            Of the atoms, shape (n_atoms, width of the input).
        harmonics
            Of the edges, shape (n_edges, 9).
        weights
            Of each length, shape (n_lengths, number of weights).
        edges
            By the atom where they are summed.
        images
            How features of the atoms where edges start follow from the given ones, which are those of the atoms where they
            end; by default they are the same atoms.
        """
        if not edges.pieces:
            return features.new_zeros(len(features), self.width)
        sums = features.new_empty(len(features), self.width)
        # Padding has no harmonics.
        padded = nn.functional.pad(harmonics, (0, 0, 0, 1))
        of_edges = [padded[piece.edge].mT for piece in edges.pieces]
        for number, source in enumerate(self.sources):
            couplings = cast("Tensor", getattr(self, f"couplings_{number}"))
            of_source = features[:, source.features].unflatten(1, (source.multiplicity, source.dimension))
            if images is not None:
                of_source = images.of(of_source)
            rows = of_source.mT.reshape(-1, source.multiplicity)
            component = torch.arange(source.dimension, device=features.device)[:, None]
            of_paths = [weights[:, path.weights] for path in source.paths]
            first = 0
            for piece, of_piece in zip(edges.pieces, of_edges, strict=True):
                n_atoms, some = len(piece.edge), slice(first, first + len(piece.edge))
                first = some.stop
                coupled = (couplings @ of_piece).unflatten(1, (-1, source.dimension)).flatten(2)
                chosen = source.dimension * piece.start.view(n_atoms, 1, -1) + component
                gathered = rows.index_select(0, chosen.flatten()).view(n_atoms, source.dimension, -1)
                for path, of_path in zip(source.paths, of_paths, strict=True):
                    weighted = gathered * of_path.index_select(0, piece.length).view(n_atoms, 1, -1)
                    of_atoms = torch.bmm(coupled[:, path.product], weighted.view(n_atoms, -1, source.multiplicity))
                    sums[some, path.output] = of_atoms.mT.flatten(1)
        return sums[edges.place]


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
    """From spherical harmonics to the matrices of the edges, shape (columns of all paths x dimension, 9)."""
    degree, filters = product.irreps_in1[number].ir.l, product.irreps_in2
    parts = []
    for path in (path for path in product.instructions if path.i_in1 == number):
        coupling = torch.zeros(product.irreps_out[path.i_out].ir.dim, source.dimension, filters.dim)
        coupling[:, :, filters.slices()[path.i_in2]] = path.path_weight * wigner_3j(
            product.irreps_out[path.i_out].ir.l, degree, filters[path.i_in2].ir.l
        )
        parts.append(coupling)
    return torch.cat(parts).flatten(0, 1)
