"""Descriptors of atoms by CHGNet.

CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) was trained on energies, forces, stresses and magnetic
moments of Materials Project relaxations, not on spectra. Its atom vectors after each convolution describe how the
energy responds to displacements, which is relevant to phonons. The network stays frozen.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.identity import structure_hash
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.batches import batches_by_size
from mat2spec.descriptors.bond_graph import BondGraph
from mat2spec.descriptors.chgnet_network import AtomVectors
from mat2spec.descriptors.kinds import CHGNET, Descriptors
from mat2spec.faults import CRYSTAL_FAULTS, reason_of_fault

if TYPE_CHECKING:
    from chgnet.model import CHGNet

    from mat2spec.crystals.arrays import Crystals
    from mat2spec.tables.array_cache import ArrayCache

# Representatives per pass through the network, which limits its memory.
ATOMS_PER_BATCH = 256
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
    graphs: dict[int, BondGraph] = {}
    sites: dict[int, NDArray[np.int64]] = {}
    for index in np.flatnonzero(usable).tolist():
        if crystals.atomic_numbers[crystals.sites(index)].max() > CHGNET_ELEMENTS:
            problems[index] = f"CHGNet, which describes its atoms, supports only elements up to Z = {CHGNET_ELEMENTS}."
            continue
        given = crystals.cell(index)
        try:
            cell, sites[index] = PrimitiveCell.with_sites(given.lattice, given.frac_coords, given.atomic_numbers)
            graphs[index] = BondGraph.of(cell, network.edge_cutoff_a, network.bond_cutoff_a)
        except CRYSTAL_FAULTS as error:
            problems[index] = f"CHGNet cannot make a graph of it: {reason_of_fault(error)}"
    chosen = list(graphs)
    for batch in batches_by_size([len(graph.atomic_numbers) for graph in graphs.values()], ATOMS_PER_BATCH):
        together = {chosen[position]: graphs[chosen[position]] for position in batch}
        for index, vectors in _vectors_of(network, together, problems):
            descriptors[crystals.sites(index)] = vectors[sites[index]]
    return descriptors, problems


def _vectors_of(
    network: AtomVectors, graphs: dict[int, BondGraph], problems: list[str | None]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Atom vectors of each primitive cell; a crystal that fails gets a problem and does not affect the others."""
    joined = BondGraph.joined(list(graphs.values()))
    try:
        vectors = network.of(joined).numpy()[joined.row]
    except CRYSTAL_FAULTS as error:
        if len(graphs) == 1:
            problems[next(iter(graphs))] = f"CHGNet cannot describe its atoms: {reason_of_fault(error)}"
            return
        for index, graph in graphs.items():
            yield from _vectors_of(network, {index: graph}, problems)
        return
    ends = np.cumsum([len(graph.row) for graph in graphs.values()])
    yield from zip(graphs, np.split(vectors, ends[:-1]), strict=True)


def cached_site_vectors(
    crystals: Crystals, usable: NDArray[np.bool_], cache: ArrayCache | None
) -> tuple[NDArray[np.float32], list[str | None]]:
    """The same as `site_vectors`; what the cache holds, if there is one, is not computed again."""
    if cache is None:
        return site_vectors(crystals, usable)
    chosen = np.flatnonzero(usable)
    problems: list[str | None] = [None] * len(crystals)

    def compute(missing: list[int]) -> list[NDArray[np.float32] | None]:
        rows = chosen[missing]
        part = crystals.take(rows)
        values, found = site_vectors(part, np.ones(len(part), dtype=np.bool_))
        for row, problem in zip(rows, found, strict=True):
            problems[row] = problem
        return [values[part.sites(index)] if problem is None else None for index, problem in enumerate(found)]

    hashes = [structure_hash(crystals.cell(index)) for index in chosen.tolist()]
    known = cache.look_up(
        f"{CHGNET} {version('chgnet')} of primitive cells", hashes, crystals.n_sites[chosen].tolist(), compute
    )
    descriptors = np.zeros((len(crystals.atomic_numbers), Descriptors.CHGNET.width), dtype=np.float32)
    for index, values in zip(chosen.tolist(), known, strict=True):
        if values is not None:
            descriptors[crystals.sites(index)] = values
    return descriptors, problems


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
