"""Quantities derived from a phonon density of states: number of modes, thermodynamics of oscillators, frequencies.

Every mode is an oscillator of its own (harmonic approximation). The scale of a spectrum cancels everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mat2spec.spectra.grids import SpectralGrid

FloatArray = NDArray[np.floating]

MODES_PER_ATOM = 3
GAS_CONSTANT_J_PER_MOL_K = 8.31446261815324
# h c / k_B: the temperature of a wavenumber.
KELVIN_PER_CM1 = 1.438776877
CM1_PER_THZ = 33.3564095198152
# h c in meV cm.
MEV_PER_CM1 = 0.1239841984
# Bins with less than this share of the largest one hold no modes: a predicted spectrum is nowhere exactly zero.
EMPTY_BIN_SHARE = 0.02
# Share of modes below the highest frequency that is reported: the last ones of a predicted spectrum are noise.
_HIGHEST_SHARE = 0.99
N_ACOUSTIC = 3


def scale_to_modes(spectra: FloatArray, grid: SpectralGrid) -> NDArray[np.float64]:
    """Spectra with the integral of three modes per atom; a spectrum that is zero everywhere stays so."""
    integral = grid.integrate(spectra)[..., None]
    return np.divide(
        np.asarray(spectra) * MODES_PER_ATOM, integral, out=np.zeros(np.shape(spectra)), where=integral > 0
    )


def heat_capacity(
    frequencies_cm1: FloatArray, spectra: FloatArray, n_atoms: FloatArray | float, temperature_k: float = 300.0
) -> NDArray[np.float64]:
    """Heat capacity of harmonic phonons at constant volume.

    ``C_V = 3 N R * integral(g(w) x^2 e^x / (e^x - 1)^2) / integral(g)`` with ``x = h c w / (k_B T)``: every
    mode is an Einstein oscillator. The scale of the spectrum cancels.

    Parameters
    ----------
    frequencies_cm1
        Equidistant frequencies, not negative, in cm-1, shape (size,).
    spectra
        Densities of states on them in any unit, shape (..., size).
    n_atoms
        Atoms in what the heat capacity is asked of (cell, formula unit), shape (...) or a number.
    temperature_k
        Temperature in K.

    Returns
    -------
    NDArray
        J/(K mol), shape (...); NaN for a spectrum that is zero everywhere.
    """
    mean = _average(einstein_function(KELVIN_PER_CM1 * np.asarray(frequencies_cm1) / temperature_k), spectra)
    return np.asarray(MODES_PER_ATOM * np.asarray(n_atoms) * GAS_CONSTANT_J_PER_MOL_K * mean)


def mean_frequency(frequencies_cm1: FloatArray, spectra: FloatArray) -> NDArray[np.float64]:
    """Mean of the spectrum, ``integral(w g) / integral(g)``, in cm-1, shape (...); NaN where it is zero everywhere."""
    return _average(np.asarray(frequencies_cm1, np.float64), spectra)


def entropy(frequencies_cm1: FloatArray, spectra: FloatArray, temperature_k: float = 300.0) -> NDArray[np.float64]:
    """Vibrational entropy in J/(K mol) per mole of atoms, shape (...); NaN for a spectrum that is zero everywhere.

    ``S = 3 R <x / (e^x - 1) - ln(1 - e^-x)>`` with ``x = h c w / (k_B T)``.
    """
    values = entropy_function(KELVIN_PER_CM1 * np.asarray(frequencies_cm1) / temperature_k)
    return np.asarray(MODES_PER_ATOM * GAS_CONSTANT_J_PER_MOL_K * _average(values, spectra))


def zero_point_energy(frequencies_cm1: FloatArray, spectra: FloatArray) -> NDArray[np.float64]:
    """Zero-point energy in meV per atom, ``3 <h c w> / 2``, shape (...); NaN for a spectrum that is zero everywhere."""
    return np.asarray(MODES_PER_ATOM / 2 * MEV_PER_CM1 * mean_frequency(frequencies_cm1, spectra))


def debye_temperature(frequencies_cm1: FloatArray, spectra: FloatArray) -> NDArray[np.float64]:
    """Debye temperature in K of the second moment, ``(h c / k_B) sqrt(5 <w^2> / 3)``, shape (...).

    That of the Debye spectrum with the same mean square frequency, which has the same heat capacity at high temperature
    (Grimvall, Thermophysical Properties of Materials, North-Holland 1999, ch. 6).
    """
    mean_square = _average(np.asarray(frequencies_cm1, np.float64) ** 2, spectra)
    return np.asarray(KELVIN_PER_CM1 * np.sqrt(5 / 3 * mean_square))


def highest_frequency(grid: SpectralGrid, spectra: FloatArray) -> NDArray[np.float64]:
    """Frequency in cm-1 below which 99 % of the modes lie, shape (n,); NaN for a spectrum that is zero everywhere."""
    below = _modes_below(spectra)
    place = (below < _HIGHEST_SHARE).sum(axis=1).clip(1, below.shape[1] - 1)
    rows = np.arange(len(below))
    low, high = below[rows, place - 1], below[rows, place]
    share = np.divide(_HIGHEST_SHARE - low, high - low, out=np.full(len(below), np.nan), where=high > low)
    return np.asarray(grid.edges[place - 1] + share * grid.width)


def acoustic_optic_gap(
    grid: SpectralGrid, spectra: FloatArray, n_primitive: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Width in cm-1 of the gap between acoustic and optic modes, shape (n,).

    Of the runs of empty bins between others (below `EMPTY_BIN_SHARE` of the largest bin) the one below which the three
    acoustic modes of a primitive cell lie, within half a mode; zero where there is none, NaN where there are no optic modes
    or the spectrum is zero everywhere.

    Parameters
    ----------
    grid
        Grid of the spectra.
    spectra
        In any unit, shape (n, size).
    n_primitive
        Atoms of the primitive cells, shape (n,).
    """
    values = np.asarray(spectra, np.float64)
    modes = _modes_below(values)[:, 1:] * MODES_PER_ATOM * np.asarray(n_primitive)[:, None]
    filled = values >= EMPTY_BIN_SHARE * values.max(axis=1, keepdims=True, initial=0)
    bins = np.arange(values.shape[1])
    last_filled = np.maximum.accumulate(np.where(filled, bins, -1), axis=1)
    next_filled = np.minimum.accumulate(np.where(filled, bins, len(bins))[:, ::-1], axis=1)[:, ::-1]
    is_between = ~filled & (last_filled >= 0) & (next_filled < len(bins)) & (np.abs(modes - N_ACOUSTIC) <= 0.5)
    widths = np.where(is_between, next_filled - last_filled - 1, 0).max(axis=1, initial=0) * grid.width
    return np.where((np.asarray(n_primitive) > 1) & np.isfinite(modes).all(axis=1), widths, np.nan)


def deviation_of_average(values: FloatArray, spectra: FloatArray, uncertainty: FloatArray) -> NDArray[np.float64]:
    """Standard deviation of ``sum(g v) / sum(g)`` from independent standard deviations of the bins of g, shape (...).

    NaN for a spectrum that is zero everywhere.
    """
    spectra = np.asarray(spectra, np.float64)
    total = spectra.sum(axis=-1)
    excess = np.asarray(values, np.float64) - _average(np.asarray(values, np.float64), spectra)[..., None]
    variance = (np.asarray(uncertainty, np.float64) ** 2 * excess**2).sum(axis=-1)
    return np.divide(np.sqrt(variance), total, out=np.full(total.shape, np.nan), where=total > 0)


def entropy_function(ratio: FloatArray) -> NDArray[np.float64]:
    """Entropy of an oscillator in units of k_B on equidistant ``ratio = h w / (k_B T)``.

    The entropy diverges at zero: the modes of the bin there are taken at the middle of its positive half.
    """
    ratio = np.asarray(ratio, np.float64)
    step = ratio[1] - ratio[0] if ratio.size > 1 else 1.0
    x = np.clip(np.where(ratio > 0, ratio, step / 4), 1e-9, 700.0)
    return np.asarray(x / np.expm1(x) - np.log1p(-np.exp(-x)))


def einstein_function(ratio: FloatArray) -> NDArray[np.float64]:
    """Heat capacity of an oscillator in units of k_B for ``ratio = h w / (k_B T) >= 0``; 1 in the classical limit."""
    half = np.asarray(ratio, np.float64) / 2
    # (x/2)^2 / sinh^2(x/2), which does not overflow if small and large ratios are treated separately.
    inner = np.clip(half, 1e-6, 350.0)
    return np.where(half > 350.0, 0.0, (inner / np.sinh(inner)) ** 2)


def _modes_below(spectra: FloatArray) -> NDArray[np.float64]:
    """Share of the modes below each edge of the bins, shape (n, size + 1); NaN for a spectrum that is zero everywhere."""
    values = np.maximum(np.asarray(spectra, np.float64), 0)
    sums = np.pad(np.cumsum(values, axis=1), ((0, 0), (1, 0)))
    total = sums[:, -1:]
    return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)


def _average(values: NDArray[np.float64], spectra: FloatArray) -> NDArray[np.float64]:
    spectra = np.asarray(spectra, np.float64)
    total = spectra.sum(axis=-1)
    return np.divide(spectra @ values, total, out=np.full(total.shape, np.nan), where=total > 0)
