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

from mat2spec.benchmark.detection import GappedMetals
from mat2spec.benchmark.evaluation import SIGMAS_OF_90_PERCENT, FloatArray, Labels, rank_correlation
from mat2spec.benchmark.resampling import Contributions, Scores
from mat2spec.spectra.metrics import normalise_sum, wasserstein_distances

# Spectra per cell, sites per cell -> gapped metals.
FindGappedMetals = Callable[[NDArray[np.float64], NDArray[np.int64]], GappedMetals]


def evaluate_edos(
    spectra: FloatArray,
    uncertainty: FloatArray | None,
    labels: Labels,
    totals: FloatArray | None = None,
    find_gapped_metals: FindGappedMetals | None = None,
    gapped_metals: GappedMetals | None = None,
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
        scale, unless they all sum to one, which leaves no blind scale.
    find_gapped_metals
        Classifier of predicted and true spectra alike; without it gapped metals are not judged.
    gapped_metals
        What a predictor says of them itself; by default what the classifier finds in its blind spectra.

    Returns
    -------
    dict
        ``r2``, ``mae``, ``mse`` of blind and oracle, in states/eV per cell; ``wasserstein_ev``; ``coverage_90`` and
        ``error_rank_correlation`` of the shapes; ``gap_precision``, ``gap_recall``, ``gap_f1``, ``gap_mcc``,
        ``gap_average_precision`` and the number of true ``n_gapped_metals``. None = not defined.

    Raises
    ------
    ValueError
        If spectra and labels differ in number or grid.
    """
    figures = edos_contributions(spectra, labels, totals, find_gapped_metals, gapped_metals)
    counts: Scores = {"n": float(figures.n), "n_empty": float(_is_empty(spectra).sum())}
    scores = counts | figures.scores()
    if figures.gapped_metals is not None:
        scores["n_gapped_metals"] = float(figures.gapped_metals[1].flags.sum())
    given = _given(spectra)
    sigma = None if uncertainty is None else uncertainty / given.sum(axis=1, keepdims=True)
    return scores | _reliability(normalise_sum(labels.spectra), normalise_sum(given), sigma)


def edos_contributions(
    spectra: FloatArray,
    labels: Labels,
    totals: FloatArray | None = None,
    find_gapped_metals: FindGappedMetals | None = None,
    gapped_metals: GappedMetals | None = None,
) -> Contributions:
    """What each material contributes to the figures of merit; see `evaluate_edos`."""
    labels.grid.check(spectra)
    true = np.asarray(labels.spectra, np.float64)
    if spectra.shape != true.shape:
        raise ValueError(
            f"There are {len(spectra)} predicted and {len(true)} true spectra; give one for each material."
        )
    given = _given(spectra)
    own, shapes = given.sum(axis=1), normalise_sum(given)
    n_atoms = labels.n_atoms[:, None].astype(np.float64)
    cells = true * n_atoms
    curves = {"oracle": (cells, shapes * cells.sum(axis=1, keepdims=True))}
    means = {"wasserstein_ev": wasserstein_distances(true, shapes, labels.grid)}
    if totals is None and np.allclose(own, 1.0, atol=1e-3):
        return Contributions(curves, means)
    blind = shapes * (own if totals is None else np.asarray(totals, np.float64))[:, None] * n_atoms
    curves["blind"] = (cells, blind)
    if find_gapped_metals is None:
        return Contributions(curves, means)
    found = gapped_metals or find_gapped_metals(blind, labels.n_atoms)
    return Contributions(curves, means, (found, find_gapped_metals(cells, labels.n_atoms)))


def _is_empty(spectra: FloatArray) -> NDArray[np.bool_]:
    return ~(np.isfinite(spectra).all(axis=1) & (spectra.sum(axis=1) > 0))


def _given(spectra: FloatArray) -> NDArray[np.float64]:
    """The spectra, flat ones where they are empty."""
    return np.where(_is_empty(spectra)[:, None], 1.0, spectra).astype(np.float64)


def _reliability(true: FloatArray, predicted: FloatArray, sigma: FloatArray | None) -> Scores:
    if sigma is None or not np.isfinite(sigma).all():
        return {"coverage_90": None, "error_rank_correlation": None}
    error = np.abs(true - predicted)
    return {
        "coverage_90": float((error <= SIGMAS_OF_90_PERCENT * sigma).mean()),
        "error_rank_correlation": rank_correlation(sigma.mean(axis=1), error.mean(axis=1)),
    }
