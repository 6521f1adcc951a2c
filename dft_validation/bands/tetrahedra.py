"""Density of states from band energies on a mesh: Fourier interpolation, then linear tetrahedra.

The density of a bin is the difference of the number of states N(E) at its edges divided by its width.
This conserves states for any bins, and a gap is exactly zero: there is no smearing or sampling in energy.
Formulas for N(E) within a tetrahedron: P. E. Bloechl, O. Jepsen and O. K. Andersen, Phys. Rev. B 49, 16223 (1994).
Independent of the program that computed the bands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

# The four body diagonals of a mesh cell, by their starting corners.
_DIAGONAL_STARTS = np.array([(0, 0, 0), (0, 1, 1), (0, 1, 0), (0, 0, 1)])
# Diagonals whose relative lengths differ by less than this count as equal, so that rounding has no effect.
_RELATIVE_TIE = 1e-5
# Tetrahedra processed at once: limits the memory to about ten MB.
_TETRAHEDRA_PER_BLOCK = 100_000
# Range in which a Fermi energy is searched, in steps of 5 meV.
_FERMI_REACH_EV = 2.0
_FERMI_STEPS = 801


def interpolate_bands(bands: NDArray[np.floating], factor: int) -> NDArray[np.float64]:
    """Refine band energies by zero-padding their Fourier series.

    Bands are sorted by energy at every k-point, so crossings appear as kinks, which a trigonometric
    polynomial smooths; for real crystals this is still far better than linear interpolation of the same mesh.
    The energies at the given points are preserved.

    Parameters
    ----------
    bands
        Energies on the full mesh, shape (n1, n2, n3, n_bands), any unit.
    factor
        Refinement per direction; 1 returns the bands unchanged.

    Returns
    -------
    NDArray
        Shape (factor * n1, factor * n2, factor * n3, n_bands).

    Raises
    ------
    ValueError
        If the factor is not positive.
    """
    if factor < 1:
        raise ValueError(f"The interpolation factor is {factor}; give 1 or more.")
    refined = np.asarray(bands, dtype=np.complex128)
    if factor > 1:
        for axis in range(3):
            refined = _refine_axis(refined, axis, factor)
    return refined.real


def _refine_axis(values: NDArray[np.complex128], axis: int, factor: int) -> NDArray[np.complex128]:
    spectrum = np.moveaxis(np.fft.fft(values, axis=axis), axis, 0)
    n = len(spectrum)
    padded = np.zeros((n * factor, *spectrum.shape[1:]), dtype=np.complex128)
    positive = (n + 1) // 2
    negative = (n - 1) // 2
    padded[:positive] = spectrum[:positive]
    if negative:
        padded[-negative:] = spectrum[-negative:]
    if n % 2 == 0:
        # The Nyquist term of an even mesh belongs to both signs: half each keeps the result real and symmetric.
        padded[n // 2] += spectrum[n // 2] / 2
        padded[-(n // 2)] += spectrum[n // 2] / 2
    return np.moveaxis(np.fft.ifft(padded, axis=0) * factor, 0, axis)


def find_tetrahedra(lattice: NDArray[np.floating], mesh: tuple[int, int, int]) -> NDArray[np.int64]:
    """Divide a cell of the k-mesh into six tetrahedra around its shortest body diagonal.

    Parameters
    ----------
    lattice
        Lattice vectors of the crystal as rows, in Angstrom, shape (3, 3).
    mesh
        Points of the k-mesh per direction.

    Returns
    -------
    NDArray
        Corners (0 or 1 per direction), shape (6 tetrahedra, 4 corners, 3).
    """
    steps = np.linalg.inv(np.asarray(lattice, dtype=np.float64)).T / np.asarray(mesh)[:, None]
    lengths = np.linalg.norm((1 - 2 * _DIAGONAL_STARTS) @ steps, axis=1)
    start = _DIAGONAL_STARTS[np.flatnonzero(lengths <= lengths.min() * (1 + _RELATIVE_TIE))[0]]
    towards_end = (1 - 2 * start) * np.eye(3, dtype=np.int64)
    paths = [
        np.vstack([start, start + np.cumsum(towards_end[list(order)], axis=0)]) for order in permutations(range(3))
    ]
    return np.array(paths, dtype=np.int64)


def count_states(
    bands: NDArray[np.floating], tetrahedra: NDArray[np.integer], energies: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Number of states below given energies; each band holds one state.

    Parameters
    ----------
    bands
        Energies on the full periodic mesh, shape (n1, n2, n3, n_bands).
    tetrahedra
        From `find_tetrahedra`, shape (n_tetrahedra, 4, 3).
    energies
        Where to count, increasing, shape (n_energies,), unit of the bands.

    Returns
    -------
    NDArray
        States per cell and spin channel, shape (n_energies,); n_bands above the last band.
    """
    levels = np.asarray(energies, dtype=np.float64)
    n_points = int(np.prod(bands.shape[:3]))
    lowest, highest = bands.min(axis=(0, 1, 2)), bands.max(axis=(0, 1, 2))
    partial = (highest > levels[0]) & (lowest < levels[-1])
    counts = np.searchsorted(np.sort(highest[~partial]), levels, side="right").astype(np.float64)
    weight = 1.0 / (n_points * len(tetrahedra))
    for corners in _corner_blocks(bands[..., partial], tetrahedra):
        counts += weight * _count_block(corners, levels)
    return counts


def _corner_blocks(bands: NDArray[np.floating], tetrahedra: NDArray[np.integer]) -> Iterator[NDArray[np.float64]]:
    """Energies at the corners, sorted, in blocks of shape (4, n_block)."""
    per_block = max(1, _TETRAHEDRA_PER_BLOCK // max(1, int(np.prod(bands.shape[:3]))))
    for first in range(0, bands.shape[-1], per_block):
        some = np.asarray(bands[..., first : first + per_block], dtype=np.float64)
        for tetrahedron in tetrahedra:
            corners = np.stack([np.roll(some, tuple(-corner), axis=(0, 1, 2)).ravel() for corner in tetrahedron])
            corners.sort(axis=0)
            yield corners


def _count_block(corners: NDArray[np.float64], energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filled tetrahedra at each energy: full ones by counting, partly filled ones by the formula."""
    first_inside = np.searchsorted(energies, corners[0], side="right")
    first_above = np.searchsorted(energies, corners[3], side="left")
    filled = np.cumsum(np.bincount(first_above, minlength=len(energies) + 1)[:-1]).astype(np.float64)
    n_cut = np.maximum(first_above - first_inside, 0)
    owner = np.repeat(np.arange(len(n_cut)), n_cut)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(n_cut) - n_cut, n_cut)
    energy_index = first_inside[owner] + within
    fraction = _filled_fraction(corners[:, owner], energies[energy_index])
    return filled + np.bincount(energy_index, weights=fraction, minlength=len(energies))


def _filled_fraction(corners: NDArray[np.float64], energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fraction of each tetrahedron below an energy strictly between its lowest and highest corner.

    Parameters
    ----------
    corners
        Sorted corner energies, shape (4, n).
    energy
        Shape (n,).
    """
    fraction = np.empty_like(energy)
    low = energy <= corners[1]
    high = energy > corners[2]
    middle = ~(low | high)

    e1, e2, e3, e4 = corners[:, low]
    above = energy[low] - e1
    fraction[low] = (above / (e2 - e1)) * (above / (e3 - e1)) * (above / (e4 - e1))

    e1, e2, e3, e4 = corners[:, high]
    below = e4 - energy[high]
    fraction[high] = 1.0 - (below / (e4 - e1)) * (below / (e4 - e2)) * (below / (e4 - e3))

    e1, e2, e3, e4 = corners[:, middle]
    above = energy[middle] - e2
    cubic = above**2 * (above / (e3 - e2)) * ((e3 - e1 + e4 - e2) / (e4 - e2))
    fraction[middle] = ((e2 - e1) ** 2 + 3 * (e2 - e1) * above + 3 * above**2 - cubic) / ((e3 - e1) * (e4 - e1))
    return fraction


def fermi_energy(
    channels: Sequence[NDArray[np.floating]],
    lattice: NDArray[np.floating],
    n_states: float,
    around: float,
    interpolation: int,
) -> float:
    """Energy below which interpolated bands hold a number of states: the Fermi energy of a metal.

    Parameters
    ----------
    channels
        Bands of each spin channel on the full periodic mesh, shape (n1, n2, n3, n_bands), in eV.
    lattice
        Lattice vectors as rows, in Angstrom, shape (3, 3).
    n_states
        Filled states of all channels together, per cell.
    around
        Approximate Fermi energy, off by less than 2 eV, in eV.
    interpolation
        Factor of `interpolate_bands`.

    Raises
    ------
    ValueError
        If the bands do not hold that number of states within 2 eV of `around`.
    """
    mesh = channels[0].shape[:3]
    tetrahedra = find_tetrahedra(lattice, (mesh[0], mesh[1], mesh[2]))
    refined = [interpolate_bands(bands, interpolation) for bands in channels]
    energies = around + np.linspace(-_FERMI_REACH_EV, _FERMI_REACH_EV, _FERMI_STEPS)
    counts = np.sum([count_states(bands, tetrahedra, energies) for bands in refined], axis=0)
    if not counts[0] <= n_states <= counts[-1]:
        raise ValueError(
            f"There is no energy within {_FERMI_REACH_EV:g} eV of {around:.2f} eV at which the bands hold {n_states:g} states."
        )
    return float(np.interp(n_states, counts, energies))


def bin_average_dos(
    bands: NDArray[np.floating],
    lattice: NDArray[np.floating],
    edges: NDArray[np.floating],
    interpolation: int,
) -> NDArray[np.float64]:
    """Density of states averaged over bins, states per energy and cell for one spin channel.

    Parameters
    ----------
    bands
        Energies on the full periodic mesh, shape (n1, n2, n3, n_bands), same zero as the edges.
    lattice
        Lattice vectors as rows, in Angstrom, shape (3, 3).
    edges
        Edges of the bins, increasing, shape (n_bins + 1,).
    interpolation
        Factor of `interpolate_bands`.

    Returns
    -------
    NDArray
        Shape (n_bins,).
    """
    mesh = bands.shape[:3]
    refined = interpolate_bands(bands, interpolation)
    states = count_states(refined, find_tetrahedra(lattice, (mesh[0], mesh[1], mesh[2])), edges)
    # N(E) increases; rounding in its last digit must not make a density negative.
    return np.maximum(np.diff(states), 0.0) / np.diff(edges)
