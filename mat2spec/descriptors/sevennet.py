"""Rotation-invariant site descriptors of a frozen SevenNet potential (Park et al., J. Chem. Theory Comput. 20, 4857).

The scalar (l = 0) part of the atom vectors after every interaction block of a potential trained on energies, forces and
stresses of Materials Project relaxations, not on spectra. The weights come with the package sevenn (MIT).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import version as version_of_package
from io import StringIO
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.crystals.identity import structure_hash
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.batches import batches_by_size
from mat2spec.descriptors.convolution import KEY_EDGES, KEY_IMAGES, EdgeConvolution, FeatureImages
from mat2spec.descriptors.edges_by_atom import EDGES_PER_PIECE, EdgesByAtom
from mat2spec.descriptors.kinds import SCALARS, SevenNetVersion
from mat2spec.descriptors.site_graph import SiteGraph, site_graph
from mat2spec.faults import CRYSTAL_FAULTS, reason_of_fault
from mat2spec.tables.array_cache import ArrayCache

# Atoms per pass through the network: more would take more memory and no less time.
ATOMS_PER_BATCH = 256
_LOCK = threading.Lock()


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
    for chosen in batches_by_size([cell.n_atoms for cell in cells], ATOMS_PER_BATCH):
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


def scalars_or_reasons(
    cells: Sequence[PrimitiveCell], version: SevenNetVersion, cached: ArrayCache | None
) -> list[NDArray[np.float32] | str]:
    """The same as `cached_site_scalars`, with the reason in place of those of a cell that cannot be described."""
    try:
        return [*cached_site_scalars(cells, version, cached)]
    except CRYSTAL_FAULTS as error:
        if len(cells) == 1:
            return [f"SevenNet cannot describe its atoms: {reason_of_fault(error)}"]
        return [one for cell in cells for one in scalars_or_reasons([cell], version, cached)]


@cache
def potential(version: SevenNetVersion) -> Potential:
    """The potential up to its last interaction block, with hooks that store the output of each gate."""
    # Takes seconds to import, and is not needed by every model.
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


def scalars_of_graphs(
    network: Potential, graphs: Sequence[SiteGraph], device: torch.device | None = None
) -> list[NDArray[np.float32]]:
    """Descriptors of the sites of each cell, as `site_scalars` gives them, in one pass through the network."""
    # Representatives and atoms before each cell.
    before = np.cumsum([[0, 0], *([len(graph.images.representatives), graph.cell.n_atoms] for graph in graphs)], axis=0)
    end, start = np.concatenate(
        [graph.edges + first[:, None] for graph, first in zip(graphs, before[:-1], strict=True)], axis=1
    )
    rows = np.concatenate([graph.images.row + first for graph, first in zip(graphs, before[:-1, 0], strict=True)])
    described = [graph.cell.atomic_numbers[graph.images.representatives] for graph in graphs]
    numbers = torch.from_numpy(np.concatenate(described)).to(device)
    lengths = np.concatenate([graph.lengths for graph in graphs])
    edges_per_piece = EDGES_PER_PIECE if numbers.device.type == "cpu" else max(1, len(end))
    data: dict[str, Any] = {
        "x": numbers,
        "atomic_numbers": numbers,
        "edge_index": torch.from_numpy(np.stack([end, start])).to(device),
        "edge_vec": torch.from_numpy(np.concatenate([graph.vectors for graph in graphs])).to(device),
        "num_atoms": torch.tensor(len(numbers), device=device),
        KEY_EDGES: EdgesByAtom.of(start, end, lengths, len(numbers), edges_per_piece, device),
    }
    if device is not None:
        network.model.to(device)
    if len(rows) > len(numbers):
        rotations = np.concatenate([graph.images.rotations for graph in graphs])
        data[KEY_IMAGES] = FeatureImages(
            torch.from_numpy(rows).to(device), _turned_harmonics(network, rotations, device)
        )
    with _LOCK, torch.inference_mode():
        network.outputs.clear()
        network.model(data)
        scalars = torch.cat([output[:, :SCALARS] for output in network.outputs], dim=1).double().cpu().numpy()
        network.outputs.clear()
    # Equivalent sites differ only by rounding.
    return [
        graph.cell.average_equivalent(values).astype(np.float32)
        for graph, values in zip(graphs, np.split(scalars[rows], before[1:-1, 1]), strict=True)
    ]


def _turned_harmonics(
    network: Potential, rotations: NDArray[np.float64], device: torch.device | None
) -> tuple[Tensor, ...]:
    """Matrices by which rotations turn rows of harmonics of each degree, in the order and signs of the potential.

    Found from the harmonics of some directions and of their images.
    """
    spherical = network.model.edge_embedding.spherical
    directions = torch.from_numpy(np.random.default_rng(0).normal(size=(24, 3)))
    turned = torch.einsum("kij,dj->kdi", torch.from_numpy(rotations), directions)
    before, after = (spherical(vectors.float().to(device)).double() for vectors in (directions, turned))
    return tuple(
        (
            torch.linalg.pinv(before[:, degree**2 : (degree + 1) ** 2]) @ after[..., degree**2 : (degree + 1) ** 2]
        ).float()
        for degree in range(spherical.lmax + 1)
    )
