"""Figures of merit of predicted electronic densities of states, by one function for all models.

Two scales of the ordinate, states/eV per cell, never to be mixed:

``blind``
    The scale is predicted: by the model itself, or for a shape by another model. Nothing of the label is used.
``oracle``
    The predicted shape is multiplied by the sum of the true spectrum, as several papers report.

The Wasserstein distance does not depend on the scale. Gapped metals are classified only on the blind scale.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mat2spec.benchmark.detection import GappedMetals
from mat2spec.benchmark.evaluation import FloatArray, Labels, check_match, flat_where_empty, is_empty, reliability
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
        Predicted spectra per atom, or shapes of any scale if `totals` are given or unknown, shape (n, size). Those
        without states or with non-finite values are evaluated as flat ones and counted in ``n_empty``.
    uncertainty
        One standard deviation per bin in the unit of `spectra`, shape (n, size); None if there is none.
    labels
        True spectra per atom.
    totals
        Predicted sum of the bins per atom of each shape, shape (n,). None means that `spectra` have their own
        scale, unless they all sum to one, which leaves no blind scale.
    find_gapped_metals
        Classifier of both predicted and true spectra; without it gapped metals are not evaluated.
    gapped_metals
        The predictor's own flags; by default those of the classifier for its blind spectra.

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
    counts: Scores = {"n": float(figures.n), "n_empty": float(is_empty(spectra).sum())}
    scores = counts | figures.scores()
    if figures.gapped_metals is not None:
        scores["n_gapped_metals"] = float(figures.gapped_metals[1].flags.sum())
    given = flat_where_empty(spectra)
    sigma = None if uncertainty is None else uncertainty / given.sum(axis=1, keepdims=True)
    return scores | reliability(normalise_sum(labels.spectra), normalise_sum(given), sigma)


def edos_contributions(
    spectra: FloatArray,
    labels: Labels,
    totals: FloatArray | None = None,
    find_gapped_metals: FindGappedMetals | None = None,
    gapped_metals: GappedMetals | None = None,
) -> Contributions:
    """Contribution of each material to the figures of merit; see `evaluate_edos`."""
    check_match(spectra, labels)
    true = np.asarray(labels.spectra, np.float64)
    given = flat_where_empty(spectra)
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
