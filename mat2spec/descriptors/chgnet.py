"""Descriptors of atoms by CHGNet.

CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) was trained on energies, forces, stresses and magnetic
moments of Materials Project relaxations, not on spectra. Its atom vectors after each convolution describe how the
energy responds to displacements, which is relevant to phonons. The network stays frozen.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mat2spec.crystals.identity import structure_hash
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.batches import batches_by_size
from mat2spec.descriptors.bond_graph import BondGraph
from mat2spec.descriptors.chgnet_network import AtomVectors
from mat2spec.descriptors.kinds import CHGNET, Descriptors
from mat2spec.faults import CRYSTAL_FAULTS, reason_of_fault
from mat2spec.threads import worker_threads

if TYPE_CHECKING:
    from chgnet.model import CHGNet

    from mat2spec.crystals.arrays import Crystals
    from mat2spec.crystals.cell import Cell
    from mat2spec.tables.array_cache import ArrayCache

# Sites per pass through the network, and of crystals that are looked up together: both limit the memory.
ATOMS_PER_BATCH, ATOMS_PER_LOOK_UP = 512, 16_384
# The package has no weights for elements beyond plutonium.
CHGNET_ELEMENTS = 94


class DescriptorError(RuntimeError):
    """Descriptors cannot be computed at all; the message says what is missing."""


def site_vectors(crystals: Crystals, usable: NDArray[np.bool_]) -> tuple[NDArray[np.float32], list[str | None]]:
    """Atom vectors of the usable ones of some crystals, and why others have none, as `mat2spec.descriptors.sites` gives them.

    Raises
    ------
    DescriptorError
        If the package that computes them is not installed.
    """
    descriptors = np.zeros((len(crystals.atomic_numbers), Descriptors.CHGNET.width), dtype=np.float32)
    problems: list[str | None] = [None] * len(crystals)
    network = atom_vectors(CHGNET.removeprefix("chgnet-"))
    chosen = np.flatnonzero(usable)
    batches = [chosen[batch].tolist() for batch in batches_by_size(crystals.n_sites[chosen], ATOMS_PER_BATCH)]
    with worker_threads(torch.device("cpu")) as executor:
        for described in executor.map(lambda batch: _describe(network, crystals, batch), batches):
            for index, found in described.items():
                if isinstance(found, str):
                    problems[index] = found
                else:
                    descriptors[crystals.sites(index)] = found
    return descriptors, problems


def _describe(network: AtomVectors, crystals: Crystals, batch: list[int]) -> dict[int, NDArray[np.float32] | str]:
    """Vectors of the atoms of some crystals, or why they have none."""
    graphs: dict[int, BondGraph] = {}
    sites: dict[int, NDArray[np.int64]] = {}
    described: dict[int, NDArray[np.float32] | str] = {}
    for index in batch:
        found = _graph_or_reason(crystals.cell(index), network)
        if isinstance(found, str):
            described[index] = found
        else:
            graphs[index], sites[index] = found
    for index, vectors in _vectors_of(network, graphs).items():
        described[index] = vectors if isinstance(vectors, str) else vectors[sites[index]]
    return described


def _graph_or_reason(given: Cell, network: AtomVectors) -> tuple[BondGraph, NDArray[np.int64]] | str:
    """The graph of a primitive cell, and the site there that each given one is; or why there is none."""
    if given.atomic_numbers.max() > CHGNET_ELEMENTS:
        return f"CHGNet, which describes its atoms, supports only elements up to Z = {CHGNET_ELEMENTS}."
    try:
        cell, sites = PrimitiveCell.with_sites(given.lattice, given.frac_coords, given.atomic_numbers)
        return BondGraph.of(cell, network.edge_cutoff_a, network.bond_cutoff_a), sites
    except CRYSTAL_FAULTS as error:
        return f"CHGNet cannot make a graph of it: {reason_of_fault(error)}"


def _vectors_of(network: AtomVectors, graphs: dict[int, BondGraph]) -> dict[int, NDArray[np.float32] | str]:
    """Atom vectors of each primitive cell; a crystal that fails has a reason and does not affect the others."""
    if not graphs:
        return {}
    joined = BondGraph.joined(list(graphs.values()))
    try:
        vectors = network.of(joined).numpy()[joined.row]
    except CRYSTAL_FAULTS as error:
        if len(graphs) == 1:
            return {next(iter(graphs)): f"CHGNet cannot describe its atoms: {reason_of_fault(error)}"}
        return {index: found for one in graphs for index, found in _vectors_of(network, {one: graphs[one]}).items()}
    ends = np.cumsum([len(graph.row) for graph in graphs.values()])
    return dict(zip(graphs, np.split(vectors, ends[:-1]), strict=True))


def cached_site_vectors(
    crystals: Crystals, usable: NDArray[np.bool_], cache: ArrayCache | None
) -> tuple[NDArray[np.float32], list[str | None]]:
    """The same as `site_vectors`; what the cache holds, if there is one, is not computed again."""
    if cache is None:
        return site_vectors(crystals, usable)
    descriptors = np.zeros((len(crystals.atomic_numbers), Descriptors.CHGNET.width), dtype=np.float32)
    problems: list[str | None] = [None] * len(crystals)
    chosen = np.flatnonzero(usable)
    for piece in batches_by_size(crystals.n_sites[chosen], ATOMS_PER_LOOK_UP):
        rows = chosen[piece]
        part = crystals.take(rows)
        for row, found in zip(rows.tolist(), _known_vectors(part, cache), strict=True):
            if isinstance(found, str):
                problems[row] = found
            else:
                descriptors[crystals.sites(row)] = found
    return descriptors, problems


def _known_vectors(crystals: Crystals, cache: ArrayCache) -> list[NDArray[np.float32] | str]:
    """Atom vectors of each crystal, or why it has none."""
    reasons: dict[int, str] = {}

    def compute(missing: list[int]) -> list[NDArray[np.float32] | None]:
        part = crystals.take(np.array(missing))
        values, problems = site_vectors(part, np.ones(len(part), dtype=np.bool_))
        reasons.update((index, problem) for index, problem in zip(missing, problems, strict=True) if problem)
        return [None if problem else values[part.sites(index)] for index, problem in enumerate(problems)]

    hashes = [structure_hash(crystals.cell(index)) for index in range(len(crystals))]
    known = cache.look_up(
        f"{CHGNET} {version('chgnet')} of primitive cells by exact waves", hashes, crystals.n_sites.tolist(), compute
    )
    return [reasons[index] if values is None else values for index, values in enumerate(known)]


@cache
def load_chgnet(version: str) -> CHGNet:
    """CHGNet with its packaged weights on the CPU, frozen.

    Raises
    ------
    DescriptorError
        If the package is not installed.
    """
    try:
        from chgnet.model import CHGNet
    except ImportError as error:
        raise DescriptorError("CHGNet is not installed; run `pip install chgnet`.") from error
    # It prints its own name and size regardless of `verbose`; standard output is for results.
    with redirect_stdout(io.StringIO()):
        model = CHGNet.load(model_name=version, use_device="cpu", verbose=False)
    model.eval()
    model.requires_grad_(requires_grad=False)
    model.graph_converter.on_isolated_atoms = "error"
    return model


@cache
def atom_vectors(version: str) -> AtomVectors:
    """Vectors of atoms by these weights; raises as `load_chgnet`."""
    return AtomVectors(load_chgnet(version))
