"""Figures of merit of predicted electronic densities of states: one function that judges every model alike.

Two scales of the ordinate, states/eV per cell, never to be mixed:

``blind``
    The scale is predicted: by the model itself, or for a shape by another model. Nothing of the label is used.
``oracle``
    The predicted shape is multiplied by the sum of the true spectrum, as several papers report.

The Wasserstein distance does not depend on the scale. Gapped metals are told apart on the blind scale alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mat2spec.benchmark.evaluation import (
    SIGMAS_OF_90_PERCENT,
    FloatArray,
    Labels,
    Scores,
    pointwise,
    rank_correlation,
)
from mat2spec.spectra.metrics import normalise_sum, wasserstein_distances

# Predicted and true spectra per cell, sites per cell -> scores by name.
JudgeGaps = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]], Scores]


def evaluate_edos(
    spectra: FloatArray,
    uncertainty: FloatArray | None,
    labels: Labels,
    totals: FloatArray | None = None,
    judge_gaps: JudgeGaps | None = None,
) -> Scores:
    """All figures of merit of predicted electronic densities of states.

    Parameters
    ----------
    spectra
        Predicted spectra per atom, or shapes of any scale if `totals` are given or unknown, shape (n, size). One
        without a state, or with numbers that are not finite, is judged as a flat one and counted in ``n_empty``.
    uncertainty
        One standard deviation per bin in the unit of `spectra`, shape (n, size); None if there is none.
    labels
        True spectra per atom.
    totals
        Predicted sum of the bins per atom of each shape, shape (n,). None means that `spectra` have their own
        scale, unless they all sum to one: then there is no blind scale.
    judge_gaps
        Scores of gapped metals; left out without.

    Returns
    -------
    dict
        ``r2``, ``mae``, ``mse`` of blind and oracle, in states/eV per cell; ``wasserstein_ev``; ``coverage_90`` and
        ``error_rank_correlation`` of the shapes; what `judge_gaps` gives. None = not defined.

    Raises
    ------
    ValueError
        If spectra and labels differ in number or grid.
    """
    labels.grid.check(spectra)
    true = np.asarray(labels.spectra, np.float64)
    if spectra.shape != true.shape:
        raise ValueError(
            f"There are {len(spectra)} predicted and {len(true)} true spectra; give one for each material."
        )
    empty = ~(np.isfinite(spectra).all(axis=1) & (spectra.sum(axis=1) > 0))
    given: NDArray[np.float64] = np.where(empty[:, None], 1.0, spectra).astype(np.float64)
    own = given.sum(axis=1)
    n_atoms = labels.n_atoms[:, None].astype(np.float64)
    cells, shapes = true * n_atoms, normalise_sum(given)
    scores: Scores = {"n": float(len(true)), "n_empty": float(empty.sum())}
    scores |= pointwise(cells, shapes * cells.sum(axis=1, keepdims=True), "oracle")
    scores["wasserstein_ev"] = float(np.nanmean(wasserstein_distances(true, shapes, labels.grid)))
    scores |= _reliability(normalise_sum(true), shapes, None if uncertainty is None else uncertainty / own[:, None])
    if totals is None and np.allclose(own, 1.0, atol=1e-3):
        return scores
    blind = shapes * (own if totals is None else np.asarray(totals, np.float64))[:, None] * n_atoms
    scores |= pointwise(cells, blind, "blind")
    return scores if judge_gaps is None else scores | judge_gaps(blind, cells, labels.n_atoms)


def _reliability(true: FloatArray, predicted: FloatArray, sigma: FloatArray | None) -> Scores:
    if sigma is None or not np.isfinite(sigma).all():
        return {"coverage_90": None, "error_rank_correlation": None}
    error = np.abs(true - predicted)
    return {
        "coverage_90": float((error <= SIGMAS_OF_90_PERCENT * sigma).mean()),
        "error_rank_correlation": rank_correlation(sigma.mean(axis=1), error.mean(axis=1)),
    }
