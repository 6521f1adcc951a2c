"""Rotation-invariant site descriptors of a frozen SevenNet potential (Park et al., J. Chem. Theory Comput. 20, 4857).

The scalar (l = 0) part of the atom vectors after every interaction block of a potential trained on energies, forces and
stresses of Materials Project relaxations, not on spectra. The weights come with the package sevenn (MIT).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from enum import StrEnum
from functools import cache
from io import StringIO
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.tight_binding.cells import PrimitiveCell
from mat2spec.tight_binding.pairs import find_neighbours

# Atoms per pass through the network; more would only be slower because of memory.
ATOMS_PER_BATCH = 64
# Width of the scalars of each block, and how many blocks there are.
SCALARS, _BLOCKS = 128, 5
_LOCK = threading.Lock()


class SevenNetVersion(StrEnum):
    """Packaged weights that describe sites."""

    SEVENNET_0 = "7net-0"
    L3I5 = "7net-l3i5"

    @property
    def width(self) -> int:
        """Numbers per site."""
        return SCALARS * _BLOCKS


class Potential(NamedTuple):
    """Interaction blocks of a potential; `outputs` collects what each gives for the atoms of one call."""

    model: Any
    cutoff_a: float
    known: NDArray[np.bool_]
    outputs: list[Tensor]


def unknown_elements(atomic_numbers: NDArray[np.integer], version: SevenNetVersion) -> list[int]:
    """Atomic numbers that the potential was not trained on."""
    known = potential(version).known
    return sorted({int(z) for z in atomic_numbers if z >= len(known) or not known[z]})


def site_scalars(cells: Sequence[PrimitiveCell], version: SevenNetVersion) -> list[NDArray[np.float32]]:
    """Descriptors of the sites of each cell, shape (n_atoms, `version.width`).

    Parameters
    ----------
    cells
        Crystals of known elements (`unknown_elements`).
    version
        Which weights.
    """
    network = potential(version)
    features: list[NDArray[np.float32]] = [np.empty((0, version.width), dtype=np.float32)] * len(cells)
    for chosen in _batches(cells):
        together = _evaluate(network, [cells[index] for index in chosen])
        ends = np.cumsum([cells[index].n_atoms for index in chosen])
        for index, values in zip(chosen, np.split(together, ends[:-1]), strict=True):
            # Equivalent sites differ only by rounding.
            features[index] = cells[index].average_equivalent(values).astype(np.float32)
    return features


@cache
def potential(version: SevenNetVersion) -> Potential:
    """The potential up to its last interaction block, with hooks that store the output of each gate."""
    # Takes seconds to import, and is needed only for tight binding.
    from sevenn.util import load_checkpoint, pretrained_name_to_path

    checkpoint = load_checkpoint(pretrained_name_to_path(str(version)))
    with redirect_stdout(StringIO()):
        model = checkpoint.build_model()
    names = list(dict(model.named_children()))
    gates = [name for name in names if name.endswith("_equivariant_gate")]
    for name in names[names.index(gates[-1]) + 1 :]:
        model.delete_module_by_key(name)
    model.key_grad = None
    model.eval().requires_grad_(requires_grad=False)
    outputs: list[Tensor] = []
    for name in gates:
        getattr(model, name).register_forward_hook(lambda _module, _inputs, data: outputs.append(data["x"]))
    known = np.zeros(119, dtype=bool)
    known[list(model.type_map or {})] = True
    return Potential(model, float(model.cutoff), known, outputs)


def _evaluate(network: Potential, cells: Sequence[PrimitiveCell]) -> NDArray[np.float64]:
    edges, vectors, first_atom = [], [], 0
    for cell in cells:
        coordinates = cell.frac_coords @ cell.lattice
        source, end, offsets, _ = find_neighbours(cell.lattice, cell.frac_coords, network.cutoff_a)
        edges.append(np.stack([source, end]) + first_atom)
        vectors.append(coordinates[end] + offsets @ cell.lattice - coordinates[source])
        first_atom += cell.n_atoms
    numbers = np.concatenate([cell.atomic_numbers for cell in cells])
    data = {
        "x": torch.from_numpy(numbers),
        "atomic_numbers": torch.from_numpy(numbers),
        "edge_index": torch.from_numpy(np.concatenate(edges, axis=1).astype(np.int64)),
        "edge_vec": torch.from_numpy(np.concatenate(vectors).astype(np.float32)),
        "num_atoms": torch.tensor(len(numbers)),
    }
    with _LOCK, torch.inference_mode():
        network.outputs.clear()
        network.model(data)
        scalars = torch.cat([output[:, :SCALARS] for output in network.outputs], dim=1)
    return scalars.double().numpy()


def _batches(cells: Sequence[PrimitiveCell]) -> Iterator[list[int]]:
    """Cells of similar size, together at most `ATOMS_PER_BATCH` atoms unless one alone has more."""
    batch: list[int] = []
    atoms = 0
    for index in sorted(range(len(cells)), key=lambda index: cells[index].n_atoms):
        if batch and atoms + cells[index].n_atoms > ATOMS_PER_BATCH:
            yield batch
            batch, atoms = [], 0
        batch.append(index)
        atoms += cells[index].n_atoms
    if batch:
        yield batch
