"""Detection of one class among many materials: weighted counts, scores of flags and of a ranking.

All functions take one row of weights per draw, so that a bootstrap is a single matrix product.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class GappedMetals(NamedTuple):
    """Which materials are gapped metals.

    Parameters
    ----------
    flags
        Shape (n,).
    confidence
        Score by which they are ranked, 0 to 1, shape (n,).
    """

    flags: NDArray[np.bool_]
    confidence: FloatArray


def flag_scores(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], weights: FloatArray) -> dict[str, FloatArray]:
    """Precision, recall, F1 and Matthews correlation coefficient of flags, each of shape (n_draws,).

    NaN where a score is undefined: precision without predicted positives, recall without true ones.

    Parameters
    ----------
    predicted, truth
        Shape (n,).
    weights
        How often each material is in each draw, shape (n_draws, n).
    """
    tp, fp, fn, tn = (
        weights @ cell.astype(np.float64)
        for cell in (predicted & truth, predicted & ~truth, ~predicted & truth, ~predicted & ~truth)
    )
    # Factor by factor: the product of four large counts may overflow.
    spread = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    return {
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "mcc": _ratio(tp * tn - fp * fn, spread),
    }


def average_precision(confidence: FloatArray, truth: NDArray[np.bool_], weights: FloatArray) -> FloatArray:
    """Area under the precision-recall curve, without interpolation, shape (n_draws,); NaN without true positives.

    Sum over thresholds of the gain in recall times the precision; materials of one confidence share a threshold. A ranking
    without information has the share of the class.
    """
    if not len(confidence):
        return np.full(len(weights), np.nan)
    order = np.argsort(-confidence, kind="stable")
    last_of_ties = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))
    found = np.cumsum(weights[:, order] * truth[order], axis=1)[:, last_of_ties]
    chosen = np.cumsum(weights[:, order], axis=1)[:, last_of_ties]
    precision = np.divide(found, chosen, out=np.zeros_like(found), where=chosen > 0)
    return _ratio((np.diff(found, axis=1, prepend=0.0) * precision).sum(axis=1), found[:, -1])


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
