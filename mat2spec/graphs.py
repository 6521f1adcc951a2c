"""Crystals to graphs: neighbour search, whole shells, and the merging of equivalent sites.

A node is a *distinct* site: atoms that no message passing of up to `refinement_rounds` layers can
tell apart are merged into one node that carries their number. The graph of a supercell is thereby
that of its primitive cell, and high-symmetry cells cost a fraction. The merging is exact for every
model with at most that many layers whose pooling weights nodes by their multiplicity.

An atom is linked to its `n_neighbours` nearest atoms and to every further one of the same shell.
Cutting a shell at exactly 12 would need an order among equal distances, and the prediction would
then depend on the order of the atoms in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.optimization.neighbors import find_points_in_spheres

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.checks import MIN_DISTANCE_A, find_problems
from mat2spec.descriptors import Descriptors, cached_site_descriptors, site_descriptors

# On the radius of a sphere that holds the neighbours on average; larger ones find more at once, but too many.
FIRST_RADIUS_FACTOR = 1.15

_PERIODIC = np.array([1, 1, 1], dtype=np.int64)
_HASH_PRIME = np.uint64(0x9E3779B97F4A7C15)


class GraphSettings(BaseModel):
    """How a graph is made of a crystal; part of every weights file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cutoff_a: float = Field(default=8.0, gt=0, description="Largest neighbour distance, in Angstrom.")
    n_neighbours: int = Field(default=12, ge=1, description="Nearest neighbours of an atom that are always linked.")
    shell_tolerance_a: float = Field(
        default=0.01, ge=0, description="Atoms this little beyond the last of them, in Angstrom, are linked too."
    )
    distance_resolution_a: float = Field(
        default=1e-4, gt=0, description="Edge lengths are rounded to this, in Angstrom; equal ones are then equal."
    )
    refinement_rounds: int = Field(
        default=4, ge=1, description="Rounds of neighbourhood comparison; at least the number of layers of the model."
    )
    merge_sites: bool = Field(
        default=True, description="Merge equivalent sites into one node; a graph with edge vectors must not."
    )
    descriptors: Descriptors = Field(
        default=Descriptors.NONE, description="Vectors of the atoms from a pretrained interatomic potential."
    )


@dataclass(frozen=True)
class CrystalBatch:
    """Graphs of many crystals as flat arrays; a data set and a batch are the same thing.

    Parameters
    ----------
    atomic_numbers
        Element of each node, shape (n_nodes,).
    multiplicity
        Atoms of the cell that a node stands for, shape (n_nodes,).
    node_offsets
        First node of each crystal, shape (n_crystals + 1,).
    neighbour
        Far end of each edge, as the index of a node within its crystal, shape (n_edges,).
    distances
        Edge lengths in Angstrom, shape (n_edges,).
    edge_multiplicity
        Equal links (same far node, same length) that an edge stands for, shape (n_edges,).
    edge_offsets
        First edge of each node, shape (n_nodes + 1,); edges are ordered by node.
    n_atoms
        Atoms in each cell, shape (n_crystals,).
    vectors
        From the node to the far end of each edge, in Angstrom, shape (n_edges, 3); None where sites
        were merged, for equivalent atoms have neighbours in different directions.
    descriptors
        Pretrained vectors of the nodes, means over merged atoms, shape (n_nodes, width); None without.
    """

    atomic_numbers: NDArray[np.int16]
    multiplicity: NDArray[np.int32]
    node_offsets: NDArray[np.int64]
    neighbour: NDArray[np.int32]
    distances: NDArray[np.float32]
    edge_multiplicity: NDArray[np.int32]
    edge_offsets: NDArray[np.int64]
    n_atoms: NDArray[np.int64]
    vectors: NDArray[np.float32] | None = None
    descriptors: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.n_atoms)

    @property
    def n_nodes(self) -> NDArray[np.int64]:
        """Nodes of each crystal, shape (n_crystals,)."""
        return np.diff(self.node_offsets)

    @property
    def n_edges(self) -> NDArray[np.int64]:
        """Edges of each crystal, shape (n_crystals,)."""
        return np.diff(self.edge_offsets[self.node_offsets])

    def take(self, indices: NDArray[np.integer]) -> CrystalBatch:
        """The graphs at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        nodes, node_offsets = _gather(self.node_offsets, chosen)
        edges, edge_offsets = _gather(self.edge_offsets, nodes)
        return CrystalBatch(
            atomic_numbers=self.atomic_numbers[nodes],
            multiplicity=self.multiplicity[nodes],
            node_offsets=node_offsets,
            neighbour=self.neighbour[edges],
            distances=self.distances[edges],
            edge_multiplicity=self.edge_multiplicity[edges],
            edge_offsets=edge_offsets,
            n_atoms=self.n_atoms[chosen],
            vectors=None if self.vectors is None else self.vectors[edges],
            descriptors=None if self.descriptors is None else self.descriptors[nodes],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[CrystalBatch]) -> CrystalBatch:
        """All graphs of all parts; vectors and descriptors only if every part has them."""

        def joined(name: str) -> NDArray:
            return np.concatenate([getattr(part, name) for part in parts])

        def shifted(name: str) -> NDArray[np.int64]:
            counts = np.concatenate([np.diff(getattr(part, name)) for part in parts])
            return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

        return cls(
            atomic_numbers=joined("atomic_numbers"),
            multiplicity=joined("multiplicity"),
            node_offsets=shifted("node_offsets"),
            neighbour=joined("neighbour"),
            distances=joined("distances"),
            edge_multiplicity=joined("edge_multiplicity"),
            edge_offsets=shifted("edge_offsets"),
            n_atoms=joined("n_atoms"),
            vectors=None if any(part.vectors is None for part in parts) else joined("vectors"),
            descriptors=None if any(part.descriptors is None for part in parts) else joined("descriptors"),
        )


def build_graphs(
    crystals: Crystals, settings: GraphSettings | None = None, cache_dir: Path | None = None
) -> tuple[CrystalBatch, list[str | None]]:
    """Make a graph of every crystal that can have one.

    Parameters
    ----------
    crystals
        Any crystals; unusable ones are reported, not raised.
    settings
        Cutoff, number of neighbours, merging. Graphs without merging carry edge vectors.
    cache_dir
        Where descriptors are kept, for crystals whose graphs are built again and again; None keeps nothing.

    Returns
    -------
    CrystalBatch
        One graph per crystal, in order; an unusable crystal has an empty graph.
    list of str or None
        Why a crystal has no graph, or None.
    """
    settings = settings or GraphSettings()
    problems = find_problems(crystals)
    edges = []
    for index in range(len(crystals)):
        found = _NO_EDGES
        if problems[index] is None:
            found, problems[index] = _edges_of(crystals, index, settings)
        edges.append(found)
    descriptors, problems = _describe_sites(crystals, problems, settings.descriptors, cache_dir)
    usable = np.array([problem is None for problem in problems], dtype=bool)
    edges = [found if problem is None else _NO_EDGES for found, problem in zip(edges, problems, strict=True)]
    batch = _join(crystals, edges, usable, settings.distance_resolution_a)
    if descriptors is not None:
        batch = replace(batch, descriptors=descriptors[np.repeat(usable, crystals.n_sites)])
    if settings.merge_sites:
        return merge_equivalent_sites(batch, settings), problems
    vectors = [found.vectors(*_cartesian(crystals, i)) for i, found in enumerate(edges) if len(found.distance)]
    return replace(batch, vectors=np.concatenate([np.empty((0, 3)), *vectors]).astype(np.float32)), problems


def _describe_sites(
    crystals: Crystals, problems: list[str | None], kind: Descriptors, cache_dir: Path | None
) -> tuple[NDArray[np.float32] | None, list[str | None]]:
    if kind is Descriptors.NONE:
        return None, problems
    usable = np.array([problem is None for problem in problems], dtype=bool)
    if cache_dir is None:
        descriptors, found = site_descriptors(crystals, kind, usable)
    else:
        descriptors, found = cached_site_descriptors(crystals, kind, usable, cache_dir)
    return descriptors, [problem or new for problem, new in zip(problems, found, strict=True)]


class Edges(NamedTuple):
    """Links of the atoms of a crystal, ordered by centre, then distance; each of shape (n_edges,).

    `image` is the cell of the neighbour in lattice vectors, shape (n_edges, 3).
    """

    centre: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    distance: NDArray[np.float64]
    image: NDArray[np.float64]

    def vectors(self, positions: NDArray[np.float64], lattice: NDArray[np.float64]) -> NDArray[np.float64]:
        """From centre to neighbour, in the unit of the positions, shape (n_edges, 3)."""
        return positions[self.neighbour] + self.image @ lattice - positions[self.centre]


_NO_EDGES = Edges(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty((0, 3)))


def _edges_of(crystals: Crystals, index: int, settings: GraphSettings) -> tuple[Edges, str | None]:
    positions, lattice = _cartesian(crystals, index)
    edges = nearest_shells(positions, lattice, settings)
    if len(edges.distance) == 0:
        return _NO_EDGES, (
            f"No two atoms are within {settings.cutoff_a:g} Angstrom of each other: isolated atoms, no crystal."
        )
    shortest = edges.distance.min()
    if shortest < MIN_DISTANCE_A:
        return _NO_EDGES, f"Two atoms overlap: they are {shortest:.3f} Angstrom apart, below {MIN_DISTANCE_A:g}."
    return edges, None


def _cartesian(crystals: Crystals, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lattice = np.ascontiguousarray(crystals.lattices[index])
    return np.ascontiguousarray((crystals.frac_coords[crystals.sites(index)] % 1.0) @ lattice), lattice


def nearest_shells(positions: NDArray[np.float64], lattice: NDArray[np.float64], settings: GraphSettings) -> Edges:
    """Neighbours of every atom: the nearest ones with the last shell complete.

    The search radius starts from the density and grows until it is known to hold the last shell
    of every atom, at most to the cutoff, so a dense cell is not searched to the full cutoff.

    Parameters
    ----------
    positions
        Cartesian coordinates in Angstrom, shape (n, 3), C-contiguous.
    lattice
        Lattice vectors as rows in Angstrom, shape (3, 3), C-contiguous.
    settings
        Cutoff, number of neighbours, shell tolerance.

    Returns
    -------
    Edges
        Ordered by centre, then distance.
    """
    n_atoms, wanted, tolerance = len(positions), settings.n_neighbours, settings.shell_tolerance_a
    density = n_atoms / abs(np.linalg.det(lattice))
    radius = min(
        FIRST_RADIUS_FACTOR * (3 * (wanted + 1) / (4 * np.pi * density)) ** (1 / 3) + tolerance, settings.cutoff_a
    )
    while True:
        centre, neighbour, image, distance = find_points_in_spheres(
            positions, positions, r=float(radius), pbc=_PERIODIC, lattice=lattice, tol=1e-8
        )
        itself = (centre == neighbour) & ~image.any(axis=1)
        certain = np.bincount(centre[~itself & (distance <= radius - tolerance)], minlength=n_atoms)
        if radius >= settings.cutoff_a or certain.min() >= wanted:
            break
        radius = min(radius * 1.25, settings.cutoff_a)
    keep = np.flatnonzero(~itself)
    # One key for centre, then distance: no distance exceeds the radius.
    order = keep[np.argsort(centre[keep] * (2 * radius) + distance[keep])]
    centre, neighbour, distance = centre[order], neighbour[order], distance[order]
    count = np.bincount(centre, minlength=n_atoms)
    last = np.cumsum(count) - count + wanted - 1
    limit = np.full(n_atoms, np.inf)
    full = count >= wanted
    limit[full] = distance[last[full]] + tolerance
    inside = distance <= limit[centre]
    return Edges(centre[inside], neighbour[inside], distance[inside], image[order[inside]])


def merge_equivalent_sites(batch: CrystalBatch, settings: GraphSettings) -> CrystalBatch:
    """Merge the nodes that message passing cannot tell apart, then the equal edges of a node.

    Colour refinement (Weisfeiler and Leman): two nodes stay equal while their element and the
    multiset of (distance, neighbour's colour) are equal.
    """
    crystal = np.repeat(np.arange(len(batch)), batch.n_nodes)
    colours = _refine_colours(batch, crystal, settings)
    # Colours are compared within a crystal only.
    order = np.lexsort((colours, crystal))
    first = _is_first(crystal[order], colours[order])
    node_of = np.empty(len(order), dtype=np.int64)
    node_of[order] = np.cumsum(first) - 1
    representatives = _lowest_member(order, first)
    node_offsets = np.concatenate([[0], np.cumsum(np.bincount(crystal[representatives], minlength=len(batch)))])
    edges, edge_offsets = _gather(batch.edge_offsets, representatives)
    centre = np.repeat(np.arange(len(representatives)), np.diff(edge_offsets))
    far_crystal = crystal[representatives][centre]
    far_node = node_of[batch.neighbour[edges] + batch.node_offsets[far_crystal]] - node_offsets[far_crystal]
    merged = CrystalBatch(
        atomic_numbers=batch.atomic_numbers[representatives],
        multiplicity=np.bincount(node_of, weights=batch.multiplicity, minlength=len(representatives)).astype(np.int32),
        node_offsets=node_offsets,
        neighbour=far_node.astype(np.int32),
        distances=batch.distances[edges],
        edge_multiplicity=batch.edge_multiplicity[edges],
        edge_offsets=edge_offsets,
        n_atoms=batch.n_atoms,
        descriptors=None
        if batch.descriptors is None
        else _mean_by_node(batch.descriptors, node_of, len(representatives)),
    )
    return _merge_equal_edges(merged, centre)


def _mean_by_node(values: NDArray[np.float32], node_of: NDArray[np.int64], n_nodes: int) -> NDArray[np.float32]:
    """Means of the rows that share a node; equivalent atoms differ by rounding, or by what angles tell apart."""
    order = np.argsort(node_of, kind="stable")
    count = np.bincount(node_of, minlength=n_nodes)
    if n_nodes == 0:
        return values
    starts = np.cumsum(count) - count
    return (np.add.reduceat(values[order], starts, axis=0, dtype=np.float64) / count[:, None]).astype(np.float32)


def _merge_equal_edges(batch: CrystalBatch, centre: NDArray[np.int64]) -> CrystalBatch:
    pair = centre * (batch.neighbour.max(initial=0) + 1) + batch.neighbour
    order = np.lexsort((batch.distances, pair))
    starts = np.flatnonzero(_is_first(pair[order], batch.distances[order]))
    kept = order[starts]
    multiplicity = batch.edge_multiplicity[order]
    degree = np.bincount(centre[kept], minlength=len(batch.atomic_numbers))
    return replace(
        batch,
        neighbour=batch.neighbour[kept],
        distances=batch.distances[kept],
        edge_multiplicity=np.add.reduceat(multiplicity, starts) if len(starts) else multiplicity,
        edge_offsets=np.concatenate([[0], np.cumsum(degree)]),
    )


def _is_first(*sorted_keys: NDArray) -> NDArray[np.bool_]:
    """Where a new group begins in rows sorted by these keys."""
    first = np.ones(len(sorted_keys[0]), dtype=bool)
    first[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in sorted_keys])
    return first


def _refine_colours(batch: CrystalBatch, crystal: NDArray[np.int64], settings: GraphSettings) -> NDArray[np.uint64]:
    degree = np.diff(batch.edge_offsets)
    far = batch.neighbour + np.repeat(batch.node_offsets[crystal], degree)
    length = np.rint(batch.distances / settings.distance_resolution_a).astype(np.uint64)
    colours = _scramble(batch.atomic_numbers.astype(np.uint64))
    for _ in range(settings.refinement_rounds):
        messages = _scramble(_scramble(length) ^ colours[far])
        totals = np.concatenate([[np.uint64(0)], np.cumsum(messages, dtype=np.uint64)])
        gathered = totals[batch.edge_offsets[1:]] - totals[batch.edge_offsets[:-1]]
        colours = _scramble(gathered + _scramble(colours))
    return colours


def _scramble(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64-bit integers (the finaliser of splitmix64), so that sums of them tell multisets apart."""
    values = (values + _HASH_PRIME).astype(np.uint64)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _lowest_member(order: NDArray[np.int64], first: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The lowest atom index of every group of `order`; groups begin where `first` is true."""
    starts = np.flatnonzero(first)
    return np.minimum.reduceat(order, starts) if len(starts) else starts


def _join(crystals: Crystals, edges: list[Edges], usable: NDArray[np.bool_], resolution_a: float) -> CrystalBatch:
    n_nodes = np.where(usable, crystals.n_sites, 0)
    atoms = np.repeat(usable, crystals.n_sites)
    distances = np.concatenate([_NO_EDGES.distance, *(found.distance for found in edges)])
    degree = [np.bincount(found.centre, minlength=n) for found, n in zip(edges, n_nodes, strict=True)]
    return CrystalBatch(
        atomic_numbers=crystals.atomic_numbers[atoms].astype(np.int16),
        multiplicity=np.ones(int(atoms.sum()), dtype=np.int32),
        node_offsets=np.concatenate([[0], np.cumsum(n_nodes)]),
        neighbour=np.concatenate([_NO_EDGES.neighbour, *(found.neighbour for found in edges)]).astype(np.int32),
        distances=(np.rint(distances / resolution_a) * resolution_a).astype(np.float32),
        edge_multiplicity=np.ones(len(distances), dtype=np.int32),
        edge_offsets=np.concatenate([[0], np.cumsum(np.concatenate([_NO_EDGES.centre, *degree]))]).astype(np.int64),
        n_atoms=crystals.n_sites,
    )


def _gather(offsets: NDArray[np.int64], chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of all members of the chosen groups, and the offsets of the groups among them."""
    counts = np.diff(offsets)[chosen]
    new_offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    positions = np.repeat(offsets[chosen] - new_offsets[:-1], counts) + np.arange(new_offsets[-1])
    return positions, new_offsets
