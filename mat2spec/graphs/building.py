"""Building graphs from crystals, the input of the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.utils import cumsum

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.checks import (
    MIN_DISTANCE_A,
    Examination,
    blocks_of,
    examine_searched,
    join_examinations,
    search_neighbours,
)
from mat2spec.crystals.compact import reduce_skewed_cells
from mat2spec.descriptors.kinds import Descriptors
from mat2spec.descriptors.sites import site_descriptors
from mat2spec.faults import CRYSTAL_FAULTS, reason_of_fault
from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.graphs.merging import merge_equivalent_sites
from mat2spec.graphs.neighbours import NO_EDGES, Edges, nearest_shells, shells_in_spheres
from mat2spec.graphs.settings import GraphSettings

if TYPE_CHECKING:
    from mat2spec.tables.array_cache import ArrayCache


def build_graphs(
    crystals: Crystals,
    settings: GraphSettings | None = None,
    cache: ArrayCache | None = None,
    problems: list[str | None] | None = None,
) -> tuple[CrystalGraphs, list[str | None]]:
    """Make a graph of every usable crystal.

    Parameters
    ----------
    crystals
        Any crystals; unusable ones are reported, not raised.
    settings
        Cutoff, number of neighbours, merging. Graphs without merging carry edge vectors.
    cache
        Of descriptors, which are computed once for each crystal; None caches nothing.
    problems
        Those of `mat2spec.crystals.checks.find_problems`, where they are known.

    Returns
    -------
    CrystalGraphs
        One graph per crystal, in order; an unusable crystal has an empty graph.
    list of str or None
        Why a crystal has no graph, or None.
    """
    edges, problems, _ = _find_edges(crystals, settings or GraphSettings(), problems)
    return _graphs_of(crystals, edges, problems, settings or GraphSettings(), cache)


def build_graphs_and_examine(
    crystals: Crystals, settings: GraphSettings, cache: ArrayCache | None = None
) -> tuple[CrystalGraphs, list[str | None], Examination]:
    """As `build_graphs`, and what `mat2spec.crystals.checks.examine` says of the crystals, by one search of neighbours for both."""
    edges, problems, examination = _find_edges(crystals, settings, None)
    return *_graphs_of(crystals, edges, problems, settings, cache), examination


def _find_edges(
    crystals: Crystals, settings: GraphSettings, known: list[str | None] | None
) -> tuple[list[Edges], list[str | None], Examination]:
    """Edges of each crystal, why it has none, and what was found of those whose problems were not known."""
    edges: list[Edges] = []
    problems: list[str | None] = []
    examinations = []
    for block in blocks_of(crystals):
        searched = search_neighbours(block)
        if known is None:
            examinations.append(examine_searched(searched))
            new = list(examinations[-1].problems)
        else:
            new = known[len(problems) : len(problems) + len(block)]
        usable = np.flatnonzero([problem is None for problem in new])
        found = [NO_EDGES] * len(block)
        inside = shells_in_spheres(searched.crystals, usable, searched.spheres, settings)
        for index, shells in zip(usable.tolist(), inside, strict=True):
            found[index], new[index] = _edges_of(searched.crystals, index, shells, settings)
        edges += found
        problems += new
    return edges, problems, join_examinations(examinations)


def _graphs_of(
    crystals: Crystals,
    edges: list[Edges],
    problems: list[str | None],
    settings: GraphSettings,
    cache: ArrayCache | None,
) -> tuple[CrystalGraphs, list[str | None]]:
    crystals = reduce_skewed_cells(crystals)
    descriptors, problems = _describe_sites(crystals, problems, settings.descriptors, cache)
    usable = np.array([problem is None for problem in problems], dtype=bool)
    edges = [found if problem is None else NO_EDGES for found, problem in zip(edges, problems, strict=True)]
    graphs = _join(crystals, edges, usable, settings.distance_resolution_a)
    if descriptors is not None:
        of_usable = descriptors if usable.all() else descriptors[np.repeat(usable, crystals.n_sites)]
        graphs.descriptors = torch.from_numpy(of_usable)
    if settings.merge_sites:
        return merge_equivalent_sites(graphs, settings), problems
    vectors = [found.vectors(*_cartesian(crystals, i)) for i, found in enumerate(edges) if len(found.distance)]
    graphs.edge_vector = torch.from_numpy(np.concatenate([np.empty((0, 3)), *vectors]).astype(np.float32))
    return graphs, problems


def _describe_sites(
    crystals: Crystals, problems: list[str | None], kind: Descriptors, cache: ArrayCache | None
) -> tuple[NDArray[np.float32] | None, list[str | None]]:
    if kind is Descriptors.NONE:
        return None, problems
    usable = np.array([problem is None for problem in problems], dtype=bool)
    descriptors, found = site_descriptors(crystals, kind, usable, cache)
    return descriptors, [problem or new for problem, new in zip(problems, found, strict=True)]


def _edges_of(crystals: Crystals, index: int, edges: Edges | None, settings: GraphSettings) -> tuple[Edges, str | None]:
    """Edges of a crystal, which is searched if they are not known, or why it has none."""
    try:
        edges = nearest_shells(*_cartesian(crystals, index), settings) if edges is None else edges
    except CRYSTAL_FAULTS as error:
        return NO_EDGES, f"Its neighbours cannot be searched: {reason_of_fault(error)}"
    if len(edges.distance) == 0:
        return NO_EDGES, (
            f"No two atoms are within {settings.cutoff_a:g} Angstrom of each other: isolated atoms rather than a crystal."
        )
    shortest = edges.distance.min()
    if shortest < MIN_DISTANCE_A:
        return NO_EDGES, f"Two atoms overlap: they are {shortest:.3f} Angstrom apart, below {MIN_DISTANCE_A:g}."
    return edges, None


def _cartesian(crystals: Crystals, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lattice = np.ascontiguousarray(crystals.lattices[index])
    return np.ascontiguousarray((crystals.frac_coords[crystals.sites(index)] % 1.0) @ lattice), lattice


def _join(crystals: Crystals, edges: list[Edges], usable: NDArray[np.bool_], resolution_a: float) -> CrystalGraphs:
    n_nodes = np.where(usable, crystals.n_sites, 0)
    first_node = np.repeat(np.cumsum(n_nodes) - n_nodes, [len(found.distance) for found in edges])
    ends = np.stack(
        [
            np.concatenate([NO_EDGES.neighbour, *(found.neighbour for found in edges)]),
            np.concatenate([NO_EDGES.centre, *(found.centre for found in edges)]),
        ]
    )
    distances = np.concatenate([NO_EDGES.distance, *(found.distance for found in edges)])
    numbers = crystals.atomic_numbers[np.repeat(usable, crystals.n_sites)]
    return CrystalGraphs.join(
        cumsum(torch.from_numpy(n_nodes)),
        torch.from_numpy(ends + first_node),
        atomic_numbers=torch.from_numpy(numbers),
        multiplicity=torch.ones(len(numbers), dtype=torch.int32),
        edge_length=torch.from_numpy((np.rint(distances / resolution_a) * resolution_a).astype(np.float32)),
        edge_multiplicity=torch.ones(len(distances), dtype=torch.int32),
        n_atoms=torch.from_numpy(crystals.n_sites),
    )
