"""Edges, bonds and pairs of bonds at the representatives of the atoms of a cell: the graph that CHGNet reads, as arrays.

CHGNet knows one feature vector for both directions of a bond. Here a bond is an edge of a representative, and what it is from
its other end is a bond of the representative there, found by the rotation between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.site_graph import SiteGraph, different_lengths, site_graph

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Bonds this near to the cutoff have no weight, and either both directions of one are taken or none.
_MARGIN_A = 1e-4
# An image of a bond is nearer to it than this, another bond farther.
_SAME_BOND_A = 1e-2


class BondGraph(NamedTuple):
    """Graph of one or several crystals; rows are those of the representatives.

    Parameters
    ----------
    atomic_numbers
        Of the representatives, shape (n_rows,).
    row
        Of the representative of each atom, shape (n_atoms,).
    centre, start, length, multiplicity
        Kinds of edges that are no bonds: where they end, where they begin, row of `lengths_a`, and how many such there are, shape
        (n_edges,) each.
    bond_centre, bond_start, bond_length
        The same of bonds, in the order of their centres, shape (n_bonds,) each.
    lengths_a
        Different lengths in Angstrom, shape (n_lengths,).
    reverse
        Bond that each is from its other end, shape (n_bonds,).
    first, second
        Pairs of different bonds at one representative, shape (n_pairs,) each.
    cosines
        Of the angles between them, shape (n_pairs,).
    """

    atomic_numbers: Ints
    row: Ints
    centre: Ints
    start: Ints
    length: Ints
    multiplicity: Ints
    bond_centre: Ints
    bond_start: Ints
    bond_length: Ints
    lengths_a: Floats
    reverse: Ints
    first: Ints
    second: Ints
    cosines: Floats

    @classmethod
    def of(cls, cell: PrimitiveCell, edge_cutoff_a: float, bond_cutoff_a: float) -> BondGraph:
        """The graph of one crystal.

        Parameters
        ----------
        cell
            The crystal.
        edge_cutoff_a, bond_cutoff_a
            Greatest lengths of edges and of bonds.

        Raises
        ------
        ValueError
            If an atom has no neighbour within the cutoff, or symmetry maps a bond on none.
        """
        graph = site_graph(cell, edge_cutoff_a)
        n_rows = len(graph.images.representatives)
        centre, end = graph.edges
        if len(np.unique(centre)) < n_rows:
            raise ValueError(f"an atom has no neighbour within {edge_cutoff_a:g} Angstrom")
        distances = graph.lengths
        examples, length = different_lengths(distances)
        start = graph.images.row[end]
        is_bond = distances < bond_cutoff_a - _MARGIN_A
        bonds = np.flatnonzero(is_bond)[np.argsort(centre[is_bond], kind="stable")]
        edges = np.stack([centre, start, length])[:, ~is_bond]
        (of_kinds, from_kinds, length_of_kinds), multiplicity = np.unique(edges, axis=1, return_counts=True)
        of_centre = np.bincount(centre[bonds], minlength=n_rows)
        first, second = _pairs(centre[bonds], of_centre)
        is_pair = first != second
        first, second = first[is_pair], second[is_pair]
        directions = graph.vectors[bonds].astype(np.float64) / distances[bonds, None]
        return cls(
            cell.atomic_numbers[graph.images.representatives],
            graph.images.row,
            of_kinds,
            from_kinds,
            length_of_kinds,
            multiplicity,
            centre[bonds],
            start[bonds],
            length[bonds],
            distances[examples],
            _reverse(graph, bonds, of_centre),
            first,
            second,
            np.einsum("ni,ni->n", directions[first], directions[second]),
        )

    @classmethod
    def joined(cls, graphs: Sequence[BondGraph]) -> BondGraph:
        """One graph of several crystals."""
        sizes = {
            "row": [len(graph.atomic_numbers) for graph in graphs],
            "length": [len(graph.lengths_a) for graph in graphs],
            "bond": [len(graph.bond_centre) for graph in graphs],
        }
        before = {name: np.cumsum([0, *values[:-1]]) for name, values in sizes.items()}
        parts = [
            [
                values if (kind := _KINDS.get(name)) is None else values + before[kind][index]
                for index, values in enumerate(getattr(graph, name) for graph in graphs)
            ]
            for name in cls._fields
        ]
        return cls(*(np.concatenate(part) for part in parts))


# What the numbers of a field count, where they are rows of something else.
_KINDS = {
    **dict.fromkeys(("row", "centre", "start", "bond_centre", "bond_start"), "row"),
    **dict.fromkeys(("length", "bond_length"), "length"),
    **dict.fromkeys(("reverse", "first", "second"), "bond"),
}


def _pairs(rows: Ints, of_row: Ints) -> tuple[Ints, Ints]:
    """For each entry, beside it every bond of its row.

    Parameters
    ----------
    rows
        Of the entries, shape (n,).
    of_row
        Bonds of each row, which stand one row after the other.

    Returns
    -------
    tuple of ndarray
        The entry and the bond of each pair.
    """
    counts = of_row[rows]
    entry = np.repeat(np.arange(len(rows)), counts)
    place = np.arange(len(entry)) - np.repeat(np.cumsum(counts) - counts, counts)
    before = np.cumsum(of_row) - of_row
    return entry, before[rows][entry] + place


def _reverse(graph: SiteGraph, bonds: Ints, of_centre: Ints) -> Ints:
    """Bond that each is from its other end, turned to where the representative of that end stands."""
    ends = graph.edges[1, bonds]
    vectors = graph.vectors[bonds].astype(np.float64)
    wanted = np.einsum("nji,nj->ni", graph.images.rotations[ends], -vectors)
    entry, candidate = _pairs(graph.images.row[ends], of_centre)
    distances = np.linalg.norm(wanted[entry] - vectors[candidate], axis=1)
    nearest = np.lexsort((distances, entry))
    found, chosen = np.unique(entry[nearest], return_index=True)
    if len(found) < len(bonds) or (distances[nearest[chosen]] > _SAME_BOND_A).any():
        raise ValueError("symmetry maps one of its bonds on none")
    return candidate[nearest[chosen]]
