"""The atom vectors of CHGNet on `BondGraph`, with the packaged weights, for inference on processors.

The first layer of each of its perceptrons is linear in what it joins, so that each part is multiplied once for each atom, length,
bond or pair and then picked; core and gate stand side by side; rows are taken in pieces that stay in the cache of the processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, silu

from mat2spec.descriptors.bond_graph import BondGraph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chgnet.model import CHGNet

ROWS_PER_PIECE = 1024
# For the stability of the inverse cosine, as CHGNet has it.
_LARGEST_COSINE = 1 - 1e-6
Picked = tuple[Tensor, Tensor]


class _Gated:
    """A gated perceptron: silu(norm(core)) * sigmoid(norm(gate)), of joined inputs of equal width.

    Parameters
    ----------
    packaged
        `chgnet.model.functions.GatedMLP` with layer norms.
    """

    def __init__(self, packaged: Any) -> None:
        both = [
            [each for each in mlp.layers if hasattr(each, "weight")] for mlp in (packaged.mlp_core, packaged.mlp_gate)
        ]
        first = torch.cat([layers[0].weight for layers in both])
        self.width = len(first) // 2
        self.parts = first.split(self.width, dim=1)
        self.bias = torch.cat([layers[0].bias for layers in both])
        self.second = [layers[1:] for layers in both]
        self.norms = (packaged.bn1, packaged.bn2)

    def part(self, number: int, values: Tensor) -> Tensor:
        """What one of the joined inputs gives to the first layer, shape (n, 2 width)."""
        return linear(values, self.parts[number])

    def of_sums(self, picked: Sequence[Picked], last: Tensor | None, rows: slice) -> Tensor:
        """Output for some rows, shape (n, width).

        Parameters
        ----------
        picked
            Parts of the first layer and the row of each that goes into each row here.
        last
            The part that has a row of its own for each of these rows.
        rows
            Which of them.
        """
        (values, index), *others = picked
        sums = values.index_select(0, index[rows]).add_(self.bias)
        for values, index in others:
            sums.add_(values.index_select(0, index[rows]))
        if last is not None:
            sums.add_(last)
        halves: Sequence[Tensor] = sums.split(self.width, dim=1)
        if self.second[0]:
            # At once, as halves are not contiguous.
            hidden = silu(sums, inplace=True).split(self.width, dim=1)
            halves = [each[0](half) for half, each in zip(hidden, self.second, strict=True)]
        core, gate = (
            layer_norm(half, (self.width,), norm.weight, norm.bias, norm.eps)
            for half, norm in zip(halves, self.norms, strict=True)
        )
        return silu(core, inplace=True).mul_(gate.sigmoid_())


class _Edges(NamedTuple):
    """Edges as the convolutions of atoms read them; the vectors of lengths stand before those of bonds."""

    centre: Tensor
    start: Tensor
    vector: Tensor
    weights: Tensor
    weight: Tensor
    multiplicity: Tensor


class AtomVectors:
    """Vectors of atoms after each convolution.

    Parameters
    ----------
    packaged
        CHGNet, frozen.
    """

    def __init__(self, packaged: CHGNet) -> None:
        self.packaged = packaged
        self.atoms: list[tuple[_Gated, Any]] = [
            (_Gated(layer.twoBody_atom), layer.mlp_out) for layer in packaged.atom_conv_layers
        ]
        self.bonds: list[tuple[_Gated, Any]] = [
            (_Gated(layer.twoBody_bond), layer.mlp_out) for layer in packaged.bond_conv_layers
        ]
        self.angles = [_Gated(layer.twoBody_bond) for layer in packaged.angle_layers]

    @property
    def edge_cutoff_a(self) -> float:
        """Greatest length of an edge."""
        return float(self.packaged.graph_converter.atom_graph_cutoff)

    @property
    def bond_cutoff_a(self) -> float:
        """Greatest length of a bond."""
        return float(self.packaged.graph_converter.bond_graph_cutoff)

    def of(self, graph: BondGraph) -> Tensor:
        """Vectors of the representatives after every convolution side by side, shape (n_rows, n_convolutions x width)."""
        with torch.inference_mode():
            return self._of(graph)

    def _of(self, graph: BondGraph) -> Tensor:
        numbers = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in graph._asdict().items()}
        expansion = self.packaged.bond_basis_expansion
        # Waves of lengths and angles in double precision: their frequencies multiply the error of what they are waves of.
        lengths = numbers["lengths_a"]
        of_lengths = expansion.rbf_expansion_ag(lengths).float()
        long = self.packaged.bond_embedding(of_lengths)
        bonds = long[numbers["bond_length"]]
        edges = self._edges(numbers, self.packaged.bond_weights_ag(of_lengths))
        weights_of_lengths = self.packaged.bond_weights_bg(expansion.rbf_expansion_bg(lengths).float())
        bond_weights = weights_of_lengths[numbers["bond_length"]]
        angles = self._angle_vectors(numbers["cosines"])
        atoms = self.packaged.atom_embedding(numbers["atomic_numbers"] - 1)
        outputs = []
        last = len(self.atoms) - 1
        for index, (gated, out) in enumerate(self.atoms):
            atoms = atoms + out(_atom_sums(gated, atoms, torch.cat([long, bonds]), edges))
            outputs.append(atoms)
            if index == last or not len(angles):
                continue
            bonds = bonds + self._bond_change(index, atoms, bonds, angles, bond_weights, numbers)
            if index + 1 < last:
                angles = angles + self._angle_change(index, atoms, bonds, angles, numbers)
        return torch.cat(outputs, dim=1)

    def _edges(self, numbers: dict[str, Tensor], weights: Tensor) -> _Edges:
        n_bonds = len(numbers["bond_centre"])
        ones = torch.ones(n_bonds, dtype=torch.float32)
        of_bonds = torch.arange(n_bonds) + len(numbers["lengths_a"])
        return _Edges(
            torch.cat([numbers["centre"], numbers["bond_centre"]]),
            torch.cat([numbers["start"], numbers["bond_start"]]),
            torch.cat([numbers["length"], of_bonds]),
            weights,
            torch.cat([numbers["length"], numbers["bond_length"]]),
            torch.cat([numbers["multiplicity"].float(), ones])[:, None],
        )

    def _angle_vectors(self, cosines: Tensor) -> Tensor:
        waves = self.packaged.angle_basis_expansion.fourier_expansion(torch.acos(cosines * _LARGEST_COSINE))
        return self.packaged.angle_embedding(waves.float())

    def _bond_change(
        self, index: int, atoms: Tensor, bonds: Tensor, angles: Tensor, weights: Tensor, numbers: dict[str, Tensor]
    ) -> Tensor:
        gated, out = self.bonds[index]
        first, second = numbers["first"], numbers["second"]
        picked = _picked(gated, atoms, bonds, numbers)
        sums = torch.zeros_like(bonds)
        for rows in _pieces(len(first)):
            messages = gated.of_sums(picked, gated.part(2, angles[rows]), rows)
            messages.mul_(weights.index_select(0, first[rows])).mul_(weights.index_select(0, second[rows]))
            sums.index_add_(0, first[rows], messages)
        return out(sums + sums[numbers["reverse"]])

    def _angle_change(
        self, index: int, atoms: Tensor, bonds: Tensor, angles: Tensor, numbers: dict[str, Tensor]
    ) -> Tensor:
        gated = self.angles[index]
        picked = _picked(gated, atoms, bonds, numbers)
        pieces = [gated.of_sums(picked, gated.part(2, angles[rows]), rows) for rows in _pieces(len(angles))]
        return torch.cat(pieces)


def _atom_sums(gated: _Gated, atoms: Tensor, vectors: Tensor, edges: _Edges) -> Tensor:
    picked = [
        (gated.part(0, atoms), edges.centre),
        (gated.part(1, vectors), edges.vector),
        (gated.part(2, atoms), edges.start),
    ]
    sums = torch.zeros_like(atoms)
    for rows in _pieces(len(edges.centre)):
        messages = gated.of_sums(picked, None, rows)
        messages.mul_(edges.weights.index_select(0, edges.weight[rows])).mul_(edges.multiplicity[rows])
        sums.index_add_(0, edges.centre[rows], messages)
    return sums


def _picked(gated: _Gated, atoms: Tensor, bonds: Tensor, numbers: dict[str, Tensor]) -> list[Picked]:
    """What both bonds and the atom of each pair give."""
    first, second = numbers["first"], numbers["second"]
    return [
        (gated.part(0, bonds), first),
        (gated.part(1, bonds), second),
        (gated.part(3, atoms), numbers["bond_centre"][first]),
    ]


def _pieces(n_rows: int) -> list[slice]:
    return [slice(first, first + ROWS_PER_PIECE) for first in range(0, n_rows, ROWS_PER_PIECE)]
