"""Two-by-two tables of predicted and true classes: scores, with intervals that reflect small counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

# Pseudo-counts of Jeffreys' prior on a share.
_JEFFREYS = 0.5


@dataclass(frozen=True)
class Interval:
    """Lower and upper end of a confidence interval; None where nothing was counted."""

    low: float | None
    high: float | None


NO_INTERVAL = Interval(None, None)


@dataclass(frozen=True)
class Confusion:
    """Counts of a two-by-two table; weighted counts need not be whole numbers."""

    tp: float
    fp: float
    fn: float
    tn: float

    @property
    def precision(self) -> float | None:
        """Tp / (tp + fp); None if nothing was predicted positive."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """Tp / (tp + fn); None if nothing is positive."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None if nothing is or was predicted positive."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def mcc(self) -> float | None:
        """Matthews correlation coefficient; None if a row or column of the table is empty."""
        tp, fp, fn, tn = self.tp, self.fp, self.fn, self.tn
        product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        return (tp * tn - fp * fn) / math.sqrt(product) if product > 0 else None

    @property
    def prevalence(self) -> float | None:
        """Share of positives among all: what random picking finds."""
        return _share(self.tp + self.fn, self.tp + self.fp + self.fn + self.tn)

    @property
    def enrichment(self) -> float | None:
        """Precision / prevalence: how many times more often a pick is right than a random one; None if undefined."""
        if self.precision is None or not self.prevalence:
            return None
        return self.precision / self.prevalence


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def count(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], weights: NDArray[np.floating] | None = None
) -> Confusion:
    """Count predictions against the truth.

    Parameters
    ----------
    predicted, truth
        Flags, shape (n,).
    weights
        How many materials each stands for, shape (n,); one each if None.
    """
    weights = np.ones(len(truth)) if weights is None else weights
    cells = (predicted & truth, predicted & ~truth, ~predicted & truth, ~predicted & ~truth)
    return Confusion(*(float(weights[cell].sum()) for cell in cells))


def wilson_interval(successes: int, trials: int, confidence_level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion (Wilson, J. Am. Stat. Assoc. 22, 209, 1927)."""
    if trials == 0:
        return NO_INTERVAL

    ends = binomtest(successes, trials).proportion_ci(confidence_level, method="wilson")
    return Interval(float(ends.low), float(ends.high))


def draw_intervals(
    predicted: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    weights: NDArray[np.floating],
    *,
    confidence_level: float = 0.95,
    n_draws: int = 4000,
    seed: int = 2022,
) -> dict[str, Interval]:
    """Intervals of all scores of a weighted table, for which no closed form holds.

    The predictions are known; the share of true positives in each group is not. Groups are the materials of one
    weight (one stratum of the sample) and one predicted class. Each share is drawn from its posterior under Jeffreys'
    prior, a Beta distribution (Brown, Cai and DasGupta, Statist. Sci. 16, 101, 2001): unlike a bootstrap of the
    sample, it allows for positives in a group where none was found among a few.

    Parameters
    ----------
    predicted, truth
        Flags, shape (n,).
    weights
        How many materials each stands for, shape (n,).
    confidence_level
        Fraction of the draws within the interval.
    n_draws, seed
        Of the random numbers.

    Returns
    -------
    dict
        Interval by name of a score of `Confusion`; it always contains the score of the counts themselves.
    """
    point = count(predicted, truth, weights)
    drawn = _draw_tables(predicted, truth, weights, n_draws, np.random.default_rng(seed))
    tails = [(1 - confidence_level) / 2, (1 + confidence_level) / 2]
    intervals = {}
    for name, values in scores_of_tables(drawn).items():
        score = getattr(point, name)
        usable = values[np.isfinite(values)]
        if score is None or not len(usable):
            intervals[name] = NO_INTERVAL
        else:
            low, high = np.quantile(usable, tails)
            intervals[name] = Interval(min(float(low), score), max(float(high), score))
    return intervals


def _draw_tables(
    predicted: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    weights: NDArray[np.floating],
    n_draws: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Tables compatible with the counts, shape (4, n_draws): tp, fp, fn, tn."""
    tables = np.zeros((4, n_draws))
    for first_row, says_positive in ((0, True), (2, False)):
        for weight in np.unique(weights):
            group = (predicted == says_positive) & (weights == weight)
            if not group.any():
                continue
            positive = int(truth[group].sum())
            share = rng.beta(positive + _JEFFREYS, int(group.sum()) - positive + _JEFFREYS, n_draws)
            size = float(weights[group].sum())
            tables[first_row] += size * share
            tables[first_row + 1] += size * (1 - share)
    return tables


def scores_of_tables(tables: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Scores of many tables at once, shape (4, n): tp, fp, fn, tn; not finite where undefined."""
    tp, fp, fn, tn = tables
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = tp / (tp + fp), tp / (tp + fn)
        prevalence = (tp + fn) / tables.sum(axis=0)
        return {
            "precision": precision,
            "recall": recall,
            "f1": 2 * tp / (2 * tp + fp + fn),
            "mcc": (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
            "prevalence": prevalence,
            "enrichment": precision / prevalence,
        }
