"""Points of a fine k-mesh where bands may have energies of interest, found on a coarser one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.tight_binding.kmesh import KMesh, choose_divisions, image_indices, reciprocal_operations, reduce_mesh

# Distance of the points along an axis in radian per Angstrom: of the coarse mesh, and of the fine one where affordable.
COARSE_SPACING_PER_A = 0.08
FINE_SPACING_PER_A = 0.02
# Irreducible k-points times the cube of the orbitals that a mesh may have: about two seconds of processor time. Small matrices
# cost as much as those of this many orbitals.
MOST_WORK = 4e8
_SMALL_MATRIX = 30
# How far beyond the energies of neighbouring points a band is taken to reach between them, in eV.
_BETWEEN_EV = 0.05


@dataclass(frozen=True)
class FinePoints:
    """Some irreducible points of a fine mesh.

    Parameters
    ----------
    divisions
        Of the mesh, shape (3,).
    kpoints
        Fractional coordinates, shape (n, 3).
    weights
        Share of the whole mesh that each stands for, shape (n,).
    """

    divisions: NDArray[np.int64]
    kpoints: NDArray[np.float64]
    weights: NDArray[np.float64]

    def steps(self, cell: PrimitiveCell) -> NDArray[np.float64]:
        """Cartesian steps of the mesh along its axes, radian per Angstrom, shape (3, 3)."""
        return mesh_steps(cell, self.divisions)


def mesh_steps(cell: PrimitiveCell, divisions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cartesian steps of a mesh along its axes, radian per Angstrom, shape (3, 3)."""
    return 2 * np.pi * np.linalg.inv(cell.lattice).T / divisions[:, None]


def coarse_mesh(cell: PrimitiveCell, n_orbitals: int) -> KMesh:
    """Mesh of `COARSE_SPACING_PER_A`, or of a wider spacing if that costs more than `MOST_WORK`."""
    spacing = COARSE_SPACING_PER_A
    while True:
        n_points = (2 * np.pi / spacing) ** 3 / cell.volume
        mesh = reduce_mesh(choose_divisions(cell, n_points * cell.n_atoms), cell.rotations)
        work = _work(len(mesh.kpoints), n_orbitals)
        if work <= 1 or len(mesh.kpoints) == 1:
            return mesh
        spacing *= max(1.05, work ** (1 / 3))


def fine_points(
    cell: PrimitiveCell,
    coarse: KMesh,
    energies: NDArray[np.float64],
    windows_ev: NDArray[np.float64],
    spacing_per_a: float = FINE_SPACING_PER_A,
) -> FinePoints:
    """Points at which a band may lie in a window, on a mesh that divides a coarse one.

    Parameters
    ----------
    cell
        The crystal.
    coarse
        A mesh.
    energies
        Of the bands on it in eV, shape (n_kpoints, n_bands).
    windows_ev
        Lowest and highest energies of interest, shape (n_windows, 2).
    spacing_per_a
        Distance of the points along an axis; a wider one is taken if it costs more than `MOST_WORK`.
    """
    near = _may_lie_in(coarse, energies, windows_ev)
    lengths = np.linalg.norm(mesh_steps(cell, coarse.divisions), axis=1)
    finer = max(1, int(np.ceil(lengths.max() / spacing_per_a - 1e-9)))
    # The reduction by symmetry is about that of the coarse mesh.
    reduction = len(coarse.kpoints) / coarse.divisions.prod()
    work = _work(near.sum() * reduction, energies.shape[1])
    finer = max(1, min(finer, int((1 / max(work, 1e-12)) ** (1 / 3))))
    divisions = coarse.divisions * finer
    within = np.stack(np.meshgrid(*[np.arange(finer) - finer // 2] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    addresses = (np.argwhere(near)[:, None] * finer + within).reshape(-1, 3)
    return irreducible_points(addresses, divisions, cell.rotations)


def irreducible_points(
    addresses: NDArray[np.int64], divisions: NDArray[np.int64], rotations: NDArray[np.int64]
) -> FinePoints:
    """One point of each orbit that has a point among the given ones, with the weight of the whole orbit.

    Parameters
    ----------
    addresses
        Points of the mesh, shape (n, 3).
    divisions, rotations
        As in `mat2spec.tight_binding.kmesh.reduce_mesh`.
    """
    operations = reciprocal_operations(rotations)
    lowest = np.full(len(addresses), divisions.prod())
    for operation in operations:  # one by one: there are many points
        lowest = np.minimum(lowest, image_indices(addresses, divisions, operation[None])[0])
    points = np.stack(np.unravel_index(np.unique(lowest), tuple(divisions)), axis=-1)
    images = np.sort(image_indices(points, divisions, operations), axis=0)
    sizes = 1 + (np.diff(images, axis=0) != 0).sum(axis=0)
    kpoints = points / divisions
    return FinePoints(divisions, kpoints - np.round(kpoints), sizes / divisions.prod())


def _work(n_points: float, n_orbitals: int) -> float:
    """Cost of solving some k-points, as a share of the largest that is allowed."""
    return float(n_points * max(n_orbitals, _SMALL_MATRIX) ** 3 / MOST_WORK)


def _may_lie_in(coarse: KMesh, energies: NDArray[np.float64], windows_ev: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a band may have an energy of interest in the cell of each point of the full mesh, shape `coarse.divisions`."""
    full = energies[coarse.irreducible_of].reshape(*coarse.divisions, -1)
    size = (3, 3, 3, 1)
    # Half way to the neighbours.
    low = (full + minimum_filter(full, size, mode="wrap")) / 2 - _BETWEEN_EV
    high = (full + maximum_filter(full, size, mode="wrap")) / 2 + _BETWEEN_EV
    near = np.zeros(tuple(coarse.divisions), dtype=bool)
    for lowest, highest in windows_ev:
        near |= ((low < highest) & (high > lowest)).any(axis=-1)
    return near
