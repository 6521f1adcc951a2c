"""Quantities derived from a phonon density of states: number of modes, heat capacity, mean frequency."""

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


def einstein_function(ratio: FloatArray) -> NDArray[np.float64]:
    """Heat capacity of an oscillator in units of k_B for ``ratio = h w / (k_B T) >= 0``; 1 in the classical limit."""
    half = np.asarray(ratio, np.float64) / 2
    # (x/2)^2 / sinh^2(x/2), which does not overflow if small and large ratios are treated separately.
    inner = np.clip(half, 1e-6, 350.0)
    return np.where(half > 350.0, 0.0, (inner / np.sinh(inner)) ** 2)


def _average(values: NDArray[np.float64], spectra: FloatArray) -> NDArray[np.float64]:
    spectra = np.asarray(spectra, np.float64)
    total = spectra.sum(axis=-1)
    return np.divide(spectra @ values, total, out=np.full(total.shape, np.nan), where=total > 0)
