"""Forces of a SevenNet potential on the atoms of supercells, nearly three times as fast as the packaged ones on a CPU."""

from __future__ import annotations

import threading
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from ase import Atoms
from torch import Tensor, nn

from mat2spec.descriptors.convolution import EdgeConvolution
from mat2spec.descriptors.kinds import SevenNetVersion

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from phonopy.structure.atoms import PhonopyAtoms

# Fewer than without gradients, which hold what each piece computes.
EDGES_PER_PIECE = 256


class DifferentiableConvolution(nn.Module):
    """The sums of `EdgeConvolution`, of which gradients can be taken: nothing is changed in place, and pieces are split once.

    Parameters
    ----------
    packaged
        The convolution of SevenNet to be replaced.
    """

    denominator: Tensor

    def __init__(self, packaged: Any) -> None:
        super().__init__()
        same = EdgeConvolution(packaged)
        self.weight_nn, self.keys, self.sources = same.weight_nn, same.keys, same.sources
        self.register_buffer("denominator", same.denominator)
        for number, source in enumerate(self.sources):
            couplings = cast("Tensor", getattr(same, f"couplings_{number}")).unflatten(0, (-1, source.dimension))
            self.register_buffer(f"couplings_{number}", couplings.permute(2, 1, 0).flatten(1).contiguous())
        paths = [
            (path.weights.start, number, place)
            for number, source in enumerate(self.sources)
            for place, path in enumerate(source.paths)
        ]
        # Weights stand in the order of the paths in the packaged product, not in that of their sources.
        self.order = [(number, place) for _, number, place in sorted(paths)]

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        """Replace the features of the atoms by the sums over their edges."""
        key_x, key_harmonics, key_lengths, key_edges = self.keys
        end, start = data[key_edges]
        sums = self.convolve(data[key_x], data[key_harmonics], self.weight_nn(data[key_lengths]), start, end)
        data[key_x] = sums / self.denominator
        return data

    def convolve(self, features: Tensor, harmonics: Tensor, weights: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Sums over the edges of each atom, shape (n_atoms, width of the output).

        Parameters
        ----------
        features
            Of the atoms, shape (n_atoms, width of the input).
        harmonics, weights
            Of the edges, shape (n_edges, 9) and (n_edges, number of weights).
        start, end
            Where features come from and where they are summed, shape (n_edges,).
        """
        of_path = self._split_weights(weights)
        pieces = list(zip(*(part.split(EDGES_PER_PIECE) for part in (harmonics, start, end)), strict=True))
        of_source = features.split([source.multiplicity * source.dimension for source in self.sources], dim=1)
        columns: dict[int, Tensor] = {}
        for number, source in enumerate(self.sources):
            widths = [path.product.stop - path.product.start for path in source.paths]
            couplings = cast("Tensor", getattr(self, f"couplings_{number}"))
            given = of_source[number].unflatten(1, (source.multiplicity, source.dimension))
            total = features.new_zeros(len(features), source.multiplicity, sum(widths))
            for piece, (spherical, first, second) in enumerate(pieces):
                matrices = (spherical @ couplings).unflatten(1, (source.dimension, -1))
                gathered = given.index_select(0, first)
                messages = gathered * matrices if source.dimension == 1 else torch.bmm(gathered, matrices)
                scales = [
                    of_path[number, place][piece][:, :, None].expand(-1, -1, width)
                    for place, width in enumerate(widths)
                ]
                total = total.index_add(0, second, messages * torch.cat(scales, dim=2))
            for path, part in zip(source.paths, total.split(widths, dim=2), strict=True):
                columns[path.output.start] = part.flatten(1)
        return torch.cat([columns[first] for first in sorted(columns)], dim=1)

    def _split_weights(self, weights: Tensor) -> dict[tuple[int, int], tuple[Tensor, ...]]:
        """Weights of each path, by source and place among its paths, in pieces of edges."""
        paths = [self.sources[number].paths[place] for number, place in self.order]
        parts = weights.split([path.weights.stop - path.weights.start for path in paths], dim=1)
        return {key: part.split(EDGES_PER_PIECE) for key, part in zip(self.order, parts, strict=True)}


class PotentialForces:
    """Forces of one potential; threads may share it.

    Parameters
    ----------
    version
        Which packaged weights of SevenNet.
    """

    def __init__(self, version: SevenNetVersion) -> None:
        self.version = version
        self._own = threading.local()
        self._model = _calculator(str(version)).model
        for name in (name for name in dict(self._model.named_children()) if name.endswith("_convolution")):
            setattr(self._model, name, DifferentiableConvolution(getattr(self._model, name)))
        self._model.requires_grad_(requires_grad=False)

    def of(self, cell: PhonopyAtoms) -> NDArray[np.float64]:
        """Forces on the atoms of a periodic cell in eV/Angstrom, shape (n_atoms, 3).

        Raises
        ------
        ValueError
            If the potential does not know an element, or a force is not finite.
        """
        if not hasattr(self._own, "calculator"):
            self._own.calculator = _calculator(self._model, "model_instance")
        atoms = Atoms(
            numbers=cell.numbers,
            cell=cell.cell,
            scaled_positions=cell.scaled_positions,
            pbc=True,
            calculator=self._own.calculator,
        )
        forces = np.array(atoms.get_forces(), dtype=np.float64)
        if not np.isfinite(forces).all():
            raise ValueError("the potential gives forces that are not finite")
        return forces


@cache
def potential_forces(version: SevenNetVersion) -> PotentialForces:
    """Those of packaged weights, loaded once."""
    return PotentialForces(version)


def _calculator(model: Any, file_type: str = "checkpoint") -> Any:
    # Takes seconds to import, and is not needed by other models.
    from sevenn.calculator import SevenNetCalculator

    with warnings.catch_warnings():
        # That accelerators for GPUs are not installed.
        warnings.filterwarnings("ignore", message="No tensor product accelerator")
        return SevenNetCalculator(model, file_type=file_type, device="cpu")
