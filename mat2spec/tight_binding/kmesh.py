"""Gamma-centred k-meshes and their irreducible part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.primitive_cell import PrimitiveCell


@dataclass(frozen=True)
class KMesh:
    """Irreducible k-points of a regular mesh.

    Parameters
    ----------
    divisions
        Points along each reciprocal lattice vector, shape (3,).
    kpoints
        Fractional coordinates, shape (n_irreducible, 3).
    weights
        Share of the full mesh that each stands for, shape (n_irreducible,); they sum to one.
    irreducible_of
        Row of the irreducible point of each point of the full mesh, last coordinate fastest, shape (n_full,).
    """

    divisions: NDArray[np.int64]
    kpoints: NDArray[np.float64]
    weights: NDArray[np.float64]
    irreducible_of: NDArray[np.int64]


def choose_divisions(cell: PrimitiveCell, kpoints_per_atom: float) -> NDArray[np.int64]:
    """Divisions of about equal spacing with at least `kpoints_per_atom` / n_atoms points, symmetric like the lattice.

    Parameters
    ----------
    cell
        The crystal.
    kpoints_per_atom
        Points times atoms, as the quality of a mesh is usually stated.
    """
    reciprocal = np.linalg.norm(np.linalg.inv(cell.lattice).T, axis=1)
    groups = _mixed_axes(cell.rotations)
    lengths = np.array([reciprocal[groups == group].max() for group in groups])
    wanted = max(1.0, kpoints_per_atom / cell.n_atoms)
    # The minimum number of points: try spacings at which one of the axes gains a point, from coarse to fine. With as many
    # points as wanted on one axis there are enough.
    spacings = np.sort((lengths[:, None] / (np.arange(1, np.ceil(wanted) + 1) - 1e-9)).ravel())[::-1]
    counts = np.ceil(lengths / spacings[:, None] - 1e-6).astype(np.int64).clip(min=1)
    return counts[np.argmax(counts.prod(axis=1) >= wanted)]


def reduce_mesh(divisions: NDArray[np.int64], rotations: NDArray[np.int64]) -> KMesh:
    """Irreducible points under a point group and time reversal.

    Parameters
    ----------
    divisions
        Points along each reciprocal lattice vector; symmetric like the group, as `choose_divisions` makes them.
    rotations
        In the basis of the lattice, shape (n_operations, 3, 3).
    """
    axes = [np.arange(count) for count in divisions]
    addresses = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    indices = image_indices(addresses, divisions, reciprocal_operations(rotations))
    first, irreducible_of, counts = np.unique(indices.min(axis=0), return_inverse=True, return_counts=True)
    kpoints = addresses[first] / divisions
    return KMesh(divisions, kpoints - np.round(kpoints), counts / len(addresses), irreducible_of)


def reciprocal_operations(rotations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Point group and time reversal in reciprocal coordinates, each operation once, shape (n_operations, 3, 3)."""
    # With inversion in the group, it holds the negative of each of its operations, and of none without.
    has_inversion = (rotations == -np.eye(3, dtype=np.int64)).all(axis=(1, 2)).any()
    # A rotation of the lattice acts on reciprocal coordinates by its transpose.
    return (rotations if has_inversion else np.concatenate([rotations, -rotations])).transpose(0, 2, 1)


def image_indices(
    addresses: NDArray[np.int64], divisions: NDArray[np.int64], operations: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Indices in the full mesh of the images of some points, shape (n_operations, n_points)."""
    images = np.einsum("oij,kj->oki", operations, addresses) % divisions
    return np.ravel_multi_index(tuple(np.moveaxis(images, -1, 0)), tuple(divisions))


def make_mesh(cell: PrimitiveCell, kpoints_per_atom: float) -> KMesh:
    """Irreducible mesh of a crystal."""
    return reduce_mesh(choose_divisions(cell, kpoints_per_atom), cell.rotations)


def _mixed_axes(rotations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Group of each axis, shape (3,): axes mixed by a rotation must have equal divisions."""
    mixed = np.any(rotations != 0, axis=0)
    mixed = mixed | mixed.T | np.eye(3, dtype=bool)
    connected = np.linalg.matrix_power(mixed.astype(np.int64), 3) > 0
    return np.argmax(connected, axis=1)
