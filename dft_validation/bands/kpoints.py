"""From the irreducible k-points that a program lists back to its full mesh.

GPAW maps each point of the mesh to its irreducible point; Elk and VASP list only the points they computed, with
weights. Bands are the same at k, at -k (time reversal; no spin-orbit coupling here) and at all images of k under the
rotations of the crystal.
"""

from __future__ import annotations

from fractions import Fraction
from math import lcm

import numpy as np
import spglib
from numpy.typing import NDArray

from mat2spec.crystals.cell import Cell

# Tolerance for k-points on the mesh and for weights: programs print seven digits or more.
_TOLERANCE = 1e-4
_LARGEST_MESH = 200


def reciprocal_rotations(cell: Cell, symmetry_tolerance_a: float = 1e-4) -> NDArray[np.int64]:
    """Distinct rotations of k in fractional coordinates (rows: k' = k @ R), with their negatives; identity first.

    Parameters
    ----------
    cell
        The crystal that was computed.
    symmetry_tolerance_a
        Tolerance of the search, in Angstrom.
    """
    found = spglib.get_symmetry(cell.as_tuple(), symprec=symmetry_tolerance_a)
    rotations = np.eye(3, dtype=np.int64)[None] if found is None else np.asarray(found["rotations"], dtype=np.int64)
    both = np.concatenate([np.eye(3, dtype=np.int64)[None], rotations, -rotations])
    _, first = np.unique(both, axis=0, return_index=True)
    return both[np.sort(first)]


def find_mesh(kpoints: NDArray[np.floating], rotations: NDArray[np.int64]) -> tuple[int, int, int]:
    """Smallest Gamma-centred mesh that contains all k-points and their images.

    Parameters
    ----------
    kpoints
        Fractional coordinates, shape (n, 3).
    rotations
        From `reciprocal_rotations`.

    Raises
    ------
    ValueError
        If they do not lie on any mesh of up to 200 points per direction.
    """
    images = np.einsum("ki,rij->rkj", np.asarray(kpoints, dtype=np.float64), rotations).reshape(-1, 3)
    sizes = []
    for coordinates in images.T:
        fractions = [
            Fraction(float(value)).limit_denominator(_LARGEST_MESH) for value in np.unique(coordinates.round(7))
        ]
        sizes.append(lcm(*(fraction.denominator for fraction in fractions)))
    n1, n2, n3 = sizes
    if max(sizes) > _LARGEST_MESH:
        raise ValueError(
            "The k-points do not lie on a Gamma-centred mesh: give a uniform calculation, not a band path."
        )
    return n1, n2, n3


def map_mesh(
    kpoints: NDArray[np.floating],
    weights: NDArray[np.floating],
    mesh: tuple[int, int, int],
    rotations: NDArray[np.int64],
) -> NDArray[np.int64]:
    """For each point of the full mesh (C order) the listed k-point with the same bands, shape (n1 * n2 * n3,).

    Rotations that map two listed points onto each other were not used by the program (magnetic order may be less
    symmetric than the crystal) and are left out.

    Parameters
    ----------
    kpoints
        Listed points in fractional coordinates, shape (n, 3).
    weights
        Their weights, summing to one, shape (n,).
    mesh
        Points of the Gamma-centred mesh per direction.
    rotations
        From `reciprocal_rotations`.

    Raises
    ------
    ValueError
        If the points and their images are not exactly this mesh, or the weights do not fit.
    """
    size = np.asarray(mesh)
    steps = np.asarray(kpoints, dtype=np.float64) * size
    listed = _index_on_mesh(steps, size)
    if listed is None:
        raise ValueError(f"The k-points do not lie on the Gamma-centred mesh {'x'.join(map(str, mesh))}.")
    owner = np.full(int(size.prod()), -1, dtype=np.int64)
    position = owner.copy()
    position[listed] = np.arange(len(listed))
    for rotation in rotations:
        images = _index_on_mesh((steps / size) @ rotation * size, size)
        if images is None or ((position[images] >= 0) & (position[images] != np.arange(len(listed)))).any():
            continue
        free = owner[images] < 0
        owner[images[free]] = np.arange(len(listed))[free]
    _check_weights(owner, np.asarray(weights, dtype=np.float64))
    return owner


def _index_on_mesh(steps: NDArray[np.float64], size: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Index of points given in steps of the mesh; None if any of them lies between mesh points."""
    whole = np.round(steps)
    if (np.abs(steps - whole) > _TOLERANCE * size).any():
        return None
    wrapped = np.mod(whole.astype(np.int64), size)
    return np.ravel_multi_index((wrapped[:, 0], wrapped[:, 1], wrapped[:, 2]), tuple(size))


def _check_weights(owner: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
    if (owner < 0).any():
        raise ValueError(
            f"The k-points and their images cover {int((owner >= 0).sum())} of the {len(owner)} points of the mesh; "
            "the calculation used another mesh or another symmetry."
        )
    found = np.bincount(owner, minlength=len(weights)) / len(owner)
    if len(found) != len(weights) or np.abs(found - weights / weights.sum()).max() > _TOLERANCE:
        raise ValueError("The weights of the k-points do not fit the symmetry of the crystal.")
