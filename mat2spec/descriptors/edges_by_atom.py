"""The edges of a graph atom by atom, in pieces whose data stay in the cache of the processor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.descriptors.site_graph import different_lengths

EDGES_PER_PIECE = 512


class EdgePiece(NamedTuple):
    """Edges of some atoms with about as many neighbours, filled up to the same number for each.

    Parameters
    ----------
    edge
        Which edges, shape (n_atoms, most); one past the last where an atom has fewer.
    start, length
        Where each begins, and row of its length, shape (n_atoms x most,); zero where an atom has fewer.
    """

    edge: Tensor
    start: Tensor
    length: Tensor


class EdgesByAtom(NamedTuple):
    """Edges of all atoms.

    Parameters
    ----------
    pieces
        Atoms in the order of their number of edges; none without edges.
    place
        Place of each atom in that order, shape (n_atoms,).
    examples
        An edge of each length, shape (n_lengths,).
    """

    pieces: list[EdgePiece]
    place: Tensor
    examples: Tensor

    @classmethod
    def of(
        cls,
        start: NDArray[np.integer],
        end: NDArray[np.integer],
        lengths_a: NDArray[np.floating],
        n_atoms: int,
        edges_per_piece: int,
        device: torch.device | None = None,
    ) -> EdgesByAtom:
        """Sort the edges of a graph.

        Parameters
        ----------
        start, end
            Of each edge; it belongs to the atom where it ends, shape (n_edges,) each.
        lengths_a
            In Angstrom, shape (n_edges,).
        n_atoms
            Atoms where edges may end.
        edges_per_piece
            How many to take at once.
        device
            Where they will be used.
        """
        examples, length = different_lengths(lengths_a)
        counts = np.bincount(end, minlength=n_atoms)
        by_atom, first = np.argsort(end, kind="stable"), np.cumsum(counts) - counts
        order = np.argsort(-counts, kind="stable")
        pieces, done = [], 0 if len(end) else n_atoms
        while done < n_atoms:
            most = max(1, counts[order[done]])
            atoms = order[done : done + max(1, edges_per_piece // most)]
            done += len(atoms)
            slot = np.arange(most)
            is_edge = slot < counts[atoms, None]
            edge = by_atom[np.where(is_edge, first[atoms, None] + slot, 0)]
            numbers = (
                np.where(is_edge, edge, len(end)),
                np.where(is_edge, start[edge], 0),
                np.where(is_edge, length[edge], 0),
            )
            edge_of, start_of, length_of = (torch.from_numpy(each).to(device) for each in numbers)
            pieces.append(EdgePiece(edge_of, start_of.flatten(), length_of.flatten()))
        place = np.empty(n_atoms, dtype=np.int64)
        place[order] = np.arange(n_atoms)
        return cls(pieces, torch.from_numpy(place).to(device), torch.from_numpy(examples).to(device))
