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
from importlib.metadata import version as version_of_package
from io import StringIO
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.crystals.identity import structure_hash
from mat2spec.tables.array_cache import ArrayCache
from mat2spec.tight_binding.cells import PrimitiveCell
from mat2spec.tight_binding.convolution import EdgeConvolution
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


class SiteGraph(NamedTuple):
    """Pairs of neighbours of a cell, shape (2, n_edges), and the vectors between them in Angstrom, (n_edges, 3)."""

    cell: PrimitiveCell
    edges: NDArray[np.int64]
    vectors: NDArray[np.float32]


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
        graphs = [site_graph(cells[index], network.cutoff_a) for index in chosen]
        for index, values in zip(chosen, scalars_of_graphs(network, graphs), strict=True):
            features[index] = values
    return features


def cached_site_scalars(
    cells: Sequence[PrimitiveCell], version: SevenNetVersion, cached: ArrayCache | None
) -> list[NDArray[np.float32]]:
    """The same as `site_scalars`; what the cache holds, if there is one, is not computed again."""
    if cached is None:
        return site_scalars(cells, version)
    known = cached.look_up(
        f"{version} {version_of_package('sevenn')}",
        [structure_hash(cell) for cell in cells],
        [cell.n_atoms for cell in cells],
        lambda missing: site_scalars([cells[index] for index in missing], version),
    )
    return [values for values in known if values is not None]


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
    for name in (name for name in dict(model.named_children()) if name.endswith("_convolution")):
        setattr(model, name, EdgeConvolution(getattr(model, name)))
    model.key_grad = None
    model.eval().requires_grad_(requires_grad=False)
    outputs: list[Tensor] = []
    for name in gates:
        getattr(model, name).register_forward_hook(lambda _module, _inputs, data: outputs.append(data["x"]))
    known = np.zeros(119, dtype=bool)
    known[list(model.type_map or {})] = True
    return Potential(model, float(model.cutoff), known, outputs)


def site_graph(cell: PrimitiveCell, cutoff_a: float) -> SiteGraph:
    """Neighbours of the atoms of a cell within the cutoff of a potential."""
    coordinates = cell.frac_coords @ cell.lattice
    source, end, offsets, _ = find_neighbours(cell.lattice, cell.frac_coords, cutoff_a)
    vectors = coordinates[end] + offsets @ cell.lattice - coordinates[source]
    return SiteGraph(cell, np.stack([source, end]), vectors.astype(np.float32))


def scalars_of_graphs(
    network: Potential, graphs: Sequence[SiteGraph], device: torch.device | None = None
) -> list[NDArray[np.float32]]:
    """Descriptors of the sites of each cell, as `site_scalars` gives them, in one pass through the network."""
    ends = np.cumsum([graph.cell.n_atoms for graph in graphs])
    edges = [graph.edges + end - graph.cell.n_atoms for graph, end in zip(graphs, ends, strict=True)]
    numbers = torch.from_numpy(np.concatenate([graph.cell.atomic_numbers for graph in graphs])).to(device)
    data = {
        "x": numbers,
        "atomic_numbers": numbers,
        "edge_index": torch.from_numpy(np.concatenate(edges, axis=1).astype(np.int64)).to(device),
        "edge_vec": torch.from_numpy(np.concatenate([graph.vectors for graph in graphs])).to(device),
        "num_atoms": torch.tensor(len(numbers), device=device),
    }
    with _LOCK, torch.inference_mode():
        network.outputs.clear()
        network.model.to(device)(data)
        scalars = torch.cat([output[:, :SCALARS] for output in network.outputs], dim=1).double().cpu().numpy()
        network.outputs.clear()
    # Equivalent sites differ only by rounding.
    return [
        graph.cell.average_equivalent(values).astype(np.float32)
        for graph, values in zip(graphs, np.split(scalars, ends[:-1]), strict=True)
    ]


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
