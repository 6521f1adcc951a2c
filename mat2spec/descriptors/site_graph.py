"""Neighbours of the representatives of the atoms of a cell: what potentials read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.neighbours import find_neighbours
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.site_images import SiteImages

# Standard cells have their symmetry exactly, vectors in single precision an error of some 3e-7 Angstrom.
_SAME_LENGTH_A = 1e-6


class SiteGraph(NamedTuple):
    """Neighbours of the representatives of the atoms of a cell.

    Parameters
    ----------
    cell
        The cell.
    images
        Its representatives.
    edges
        Row of a representative, and its neighbour among all atoms, shape (2, n_edges).
    vectors, lengths
        From the former to the latter, in Angstrom, shape (n_edges, 3) and (n_edges,).
    """

    cell: PrimitiveCell
    images: SiteImages
    edges: NDArray[np.int64]
    vectors: NDArray[np.float32]
    lengths: NDArray[np.float64]


def site_graph(cell: PrimitiveCell, cutoff_a: float) -> SiteGraph:
    """Neighbours of the representatives of the atoms of a cell within the cutoff of a potential."""
    images = SiteImages.of(cell)
    row_of = np.full(cell.n_atoms, -1)
    row_of[images.representatives] = np.arange(len(images.representatives))
    coordinates = cell.frac_coords @ cell.lattice
    source, end, offsets, distances = find_neighbours(cell.lattice, cell.frac_coords, cutoff_a)
    chosen = row_of[source] >= 0
    source, end, offsets = source[chosen], end[chosen], offsets[chosen]
    vectors = coordinates[end] + offsets @ cell.lattice - coordinates[source]
    return SiteGraph(cell, images, np.stack([row_of[source], end]), vectors.astype(np.float32), distances[chosen])


def different_lengths(lengths_a: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An edge of each length, and the row of its length for each edge: they share what depends on it alone."""
    rounded = np.rint(np.asarray(lengths_a) / _SAME_LENGTH_A)
    _, examples, length = np.unique(rounded, return_index=True, return_inverse=True)
    return examples, length
