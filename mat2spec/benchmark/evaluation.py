"""Figures of merit of predicted phonon spectra, by one function for all models.

Three scales of the ordinate, never to be mixed:

``blind``
    True and predicted curve are each divided by their *own* maximum: the scale of the published curves
    (maximum 1). Nothing of the label is used.
``modes``
    Both have three modes per atom, in states per cm-1 per atom. Also blind: 3N is known without a label.
``oracle``
    The predicted shape is multiplied by the sum of the true curve of maximum 1. The label's own sum is used,
    as in the published figures of the SumNorm settings.

Wasserstein distance, heat capacity and mean frequency do not depend on the scale.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mat2spec.benchmark.resampling import Contributions, Scores
from mat2spec.spectra.grids import SpectralGrid
from mat2spec.spectra.metrics import wasserstein_distances
from mat2spec.spectra.phonons import heat_capacity, mean_frequency, scale_to_modes

FloatArray = NDArray[np.floating]

HEAT_CAPACITY_TEMPERATURE_K = 300.0
# Half width of the central 90 % interval of a normal distribution, in standard deviations.
SIGMAS_OF_90_PERCENT = 1.6448536269514722


class Labels(Protocol):
    """The attributes needed of labelled spectra, e.g. `mat2spec.labels.labelled.LabelledSpectra`."""

    @property
    def spectra(self) -> NDArray[np.float32]:
        """True spectra in any unit, shape (n, size)."""

    @property
    def grid(self) -> SpectralGrid:
        """Their grid."""

    @property
    def n_atoms(self) -> NDArray[np.int64]:
        """Atoms in each cell, shape (n,)."""


def evaluate_phdos(
    spectra: FloatArray,
    uncertainty: FloatArray | None,
    labels: Labels,
    spectrum_uncertainty: FloatArray | None = None,
) -> Scores:
    """All figures of merit of predicted phonon spectra.

    Parameters
    ----------
    spectra
        Predicted spectra of any scale, shape (n, size). Those that are zero everywhere or not finite are
        evaluated as flat ones and counted in ``n_empty``.
    uncertainty
        One standard deviation per bin in the unit of `spectra`, shape (n, size); None if there is none.
    labels
        True spectra.
    spectrum_uncertainty
        Expected error of each spectrum in any unit, shape (n,), for the rank correlation; by default the
        mean of `uncertainty` over bins.

    Returns
    -------
    dict
        ``r2``, ``mae``, ``mse`` for each of blind, modes (states per cm-1 per atom) and oracle;
        ``wasserstein_cm1``; ``heat_capacity_mae`` in J/(K mol) per cell at 300 K; ``mean_frequency_mae_cm1``;
        ``coverage_90``: share of bins whose true value lies in the 90 % interval;
        ``error_rank_correlation``: Spearman's, of expected with true error of spectra. None = not defined.

    Raises
    ------
    ValueError
        If spectra and labels differ in number or grid.
    """
    curves = phonon_contributions(spectra, labels)
    true_modes, modes = curves.curves["modes"]
    to_modes = modes.sum(axis=1, keepdims=True) / flat_where_empty(spectra).sum(axis=1, keepdims=True)
    sigma = None if uncertainty is None else np.multiply(uncertainty, to_modes)
    counts: Scores = {"n": float(len(true_modes)), "n_empty": float(is_empty(spectra).sum())}
    return counts | curves.scores() | reliability(true_modes, modes, sigma, spectrum_uncertainty)


def phonon_contributions(spectra: FloatArray, labels: Labels) -> Contributions:
    """Contribution of each material to the figures of merit of `evaluate_phdos`.

    Raises
    ------
    ValueError
        If spectra and labels differ in number or grid.
    """
    check_match(spectra, labels)
    given = flat_where_empty(spectra)
    true = np.asarray(labels.spectra, np.float64)
    true_modes, modes = scale_to_modes(true, labels.grid), scale_to_modes(given, labels.grid)
    scales = {
        "blind": (scale_to_maximum(true), scale_to_maximum(given)),
        "modes": (true_modes, modes),
        "oracle": (scale_to_maximum(true), modes / true_modes.max(axis=1, keepdims=True)),
    }
    return Contributions(scales, _derived(true_modes, modes, labels))


def is_empty(spectra: FloatArray) -> NDArray[np.bool_]:
    """Which spectra have no states or non-finite values, shape (n,)."""
    return ~(np.isfinite(spectra).all(axis=1) & (spectra.sum(axis=1) > 0))


def flat_where_empty(spectra: FloatArray) -> NDArray[np.float64]:
    """The spectra, with flat ones in place of empty ones."""
    return np.where(is_empty(spectra)[:, None], 1.0, spectra).astype(np.float64)


def scale_to_maximum(spectra: FloatArray) -> NDArray[np.float64]:
    """Spectra divided by their maximum, shape (n, size); one that is zero everywhere stays so."""
    spectra = np.asarray(spectra, np.float64)
    largest = spectra.max(axis=-1, keepdims=True)
    return np.divide(spectra, largest, out=np.zeros_like(spectra), where=largest > 0)


def material_errors(spectra: FloatArray, labels: Labels) -> NDArray[np.float64]:
    """Mean absolute error of each spectrum on the blind scale (maximum 1), shape (n,)."""
    return np.asarray(np.abs(scale_to_maximum(labels.spectra) - scale_to_maximum(spectra)).mean(axis=1))


def check_match(spectra: FloatArray, labels: Labels) -> None:
    """Refuse predictions unless there is one per label on its grid.

    Raises
    ------
    ValueError
        If spectra and labels differ in number or grid.
    """
    labels.grid.check(spectra)
    if spectra.shape != labels.spectra.shape:
        raise ValueError(
            f"There are {len(spectra)} predicted and {len(labels.spectra)} true spectra; give one prediction per material."
        )


def _derived(
    true: NDArray[np.float64], predicted: NDArray[np.float64], labels: Labels
) -> dict[str, NDArray[np.float64]]:
    frequencies, n_atoms = labels.grid.centers, labels.n_atoms.astype(np.float64)
    capacities = [
        heat_capacity(frequencies, curves, n_atoms, HEAT_CAPACITY_TEMPERATURE_K) for curves in (true, predicted)
    ]
    means = [mean_frequency(frequencies, curves) for curves in (true, predicted)]
    return {
        "wasserstein_cm1": wasserstein_distances(true, predicted, labels.grid),
        "heat_capacity_mae": np.abs(capacities[0] - capacities[1]),
        "mean_frequency_mae_cm1": np.abs(means[0] - means[1]),
    }


def reliability(
    true: FloatArray,
    predicted: FloatArray,
    sigma: FloatArray | None,
    spectrum_uncertainty: FloatArray | None = None,
) -> Scores:
    """``coverage_90`` and ``error_rank_correlation`` of spectra on one scale; None where not known.

    Parameters
    ----------
    true, predicted
        Shape (n, size).
    sigma
        Standard deviation of each predicted bin, shape (n, size).
    spectrum_uncertainty
        See `evaluate_phdos`.
    """
    error = np.abs(true - predicted)
    known = sigma is not None and bool(np.isfinite(sigma).all())
    expected = sigma.mean(axis=1) if sigma is not None and known else None
    if spectrum_uncertainty is not None:
        expected = np.asarray(spectrum_uncertainty, np.float64)
    return {
        "coverage_90": float((error <= SIGMAS_OF_90_PERCENT * sigma).mean()) if sigma is not None and known else None,
        "error_rank_correlation": None if expected is None else rank_correlation(expected, error.mean(axis=1)),
    }


def rank_correlation(first: FloatArray, second: FloatArray) -> float | None:
    """Spearman's rank correlation; None if either does not vary."""
    # A constant uncertainty varies only by rounding.
    if len(first) < 2 or np.ptp(first) <= 1e-9 * np.abs(first).max() or np.ptp(second) == 0:
        return None
    return float(spearmanr(first, second).statistic)
