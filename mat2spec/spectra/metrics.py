"""Spectral metrics, as the paper defines them.

All take true and predicted spectra of shape (n, size). Metrics of shapes are computed on spectra
that sum to one; a blind metric never sees the label's own sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mat2spec.spectra.grids import SpectralGrid

FloatArray = NDArray[np.floating]


def r2_score(true: FloatArray, predicted: FloatArray) -> float:
    """Variance-weighted coefficient of determination over bins.

    ``1 - SSE / sum of squares about the per-bin means``; NaN where the true spectra do not vary.
    """
    true, predicted = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    total = ((true - true.mean(axis=0)) ** 2).sum()
    return float(1 - ((true - predicted) ** 2).sum() / total) if total > 0 else float("nan")


def mean_absolute_error(true: FloatArray, predicted: FloatArray) -> float:
    """Mean absolute error over all bins and spectra, in the unit of the spectra."""
    return float(np.abs(np.asarray(true, np.float64) - predicted).mean())


def mean_squared_error(true: FloatArray, predicted: FloatArray) -> float:
    """Mean squared error over all bins and spectra, in the squared unit of the spectra."""
    return float(((np.asarray(true, np.float64) - predicted) ** 2).mean())


def normalise_sum(spectra: FloatArray) -> NDArray[np.float64]:
    """Spectra divided by their sum; a spectrum that is zero everywhere becomes NaN."""
    spectra = np.asarray(spectra, np.float64)
    total = spectra.sum(axis=-1, keepdims=True)
    return np.divide(spectra, total, out=np.full_like(spectra, np.nan), where=total > 0)


def wasserstein_distances(true: FloatArray, predicted: FloatArray, grid: SpectralGrid) -> NDArray[np.float64]:
    """First Wasserstein distance between sum-normalised spectra, shape (n,), in the unit of the grid."""
    difference = np.cumsum(normalise_sum(true) - normalise_sum(predicted), axis=-1)
    return np.abs(difference).sum(axis=-1) * grid.width


def evaluate_spectra(true: FloatArray, predicted: FloatArray, grid: SpectralGrid) -> dict[str, float]:
    """R2, MAE and MSE of the spectra as given, and their Wasserstein distance.

    Raises
    ------
    ValueError
        If a spectrum does not lie on the grid.
    """
    grid.check(true)
    grid.check(predicted)
    return {
        "n": float(len(true)),
        "r2": r2_score(true, predicted),
        "mae": mean_absolute_error(true, predicted),
        "mse": mean_squared_error(true, predicted),
        "wasserstein": float(np.nanmean(wasserstein_distances(true, predicted, grid))),
    }
