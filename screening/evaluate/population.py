"""What a few computed materials say about all that could have been computed.

Strata are the patterns of the flags of all models; their sizes are known. Materials picked by rank count as themselves.
Of the others in a stratum a uniform sample of n was computed, k of them true, so the number of true ones among the rest is
beta-binomial. Half of the shares are drawn from Beta(k, n - k + 1) and half from Beta(k + 1, n - k), the distributions
behind the lower and the upper end of the interval of Clopper and Pearson (Biometrika 26, 404, 1934); Jeffreys' prior,
which has the same mean, was found to cover too little (benchmarks/coverage.py). A stratum without computed materials is
unknown, not zero: its share is drawn from Beta(u, 1 - u) with a uniform u.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mat2spec.tables.columns import Column
from screening.choose.selection import SAMPLED_GROUPS
from screening.evaluate.confusion import Interval, scores_of_tables
from screening.settings import EvaluationSettings

# A point estimate is meaningless if its interval spans more than this.
WIDEST_INTERVAL = 0.5
# The gain is unbounded: its interval may span this factor.
WIDEST_GAIN = 4
SCORES_FROM_0_TO_1 = ("precision", "recall", "f1")
# Keeps a beta distribution proper if all of it is at 0 or 1.
_SMALLEST = 1e-3
_HALF = 0.5
# Maximum sample that an advice may ask for, as a multiple of the present one.
_FACTORS = tuple(2**power for power in range(20))


@dataclass(frozen=True)
class Strata:
    """Counts of each pattern of flags.

    Parameters
    ----------
    flags
        Flags of the models in each stratum, shape (n_strata, n_models).
    models
        Names of the models.
    size
        Materials, shape (n_strata,).
    n_certain, true_certain
        Computed materials that were picked by rank, and the true ones among them.
    n_sampled, true_sampled
        Computed materials that were drawn at random, and the true ones among them.
    """

    flags: NDArray[np.bool_]
    models: tuple[str, ...]
    size: NDArray[np.int64]
    n_certain: NDArray[np.int64]
    true_certain: NDArray[np.int64]
    n_sampled: NDArray[np.int64]
    true_sampled: NDArray[np.int64]

    @classmethod
    def of(cls, flags: pd.DataFrame, answers: pd.DataFrame) -> Strata:
        """Count the patterns.

        Parameters
        ----------
        flags
            One row per material of the population and one column per model, boolean; the index names materials.
        answers
            Those computed: `material_id`, `selected_as`, and the column `truth`.
        """
        known = answers[answers[Column.MATERIAL_ID].isin(flags.index)]
        values = flags.to_numpy(dtype=np.bool_)
        patterns, stratum = np.unique(values, axis=0, return_inverse=True)
        place = pd.Series(stratum.ravel(), index=flags.index)
        of_answer = known[Column.MATERIAL_ID].map(place).to_numpy(dtype=np.int64)
        drawn = known[Column.SELECTED_AS].isin(SAMPLED_GROUPS).to_numpy(dtype=np.bool_)
        truth = known["truth"].to_numpy(dtype=np.bool_)

        def number(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
            return np.bincount(of_answer[chosen], minlength=len(patterns))

        return cls(
            patterns,
            tuple(str(name) for name in flags.columns),
            np.bincount(stratum.ravel(), minlength=len(patterns)),
            number(~drawn),
            number(~drawn & truth),
            number(drawn),
            number(drawn & truth),
        )

    def draw(self, n_draws: int, seed: int) -> NDArray[np.int64]:
        """True materials of each stratum compatible with the answers, shape (n_strata, n_draws)."""
        rng = np.random.default_rng(seed)
        rest = np.maximum(self.size - self.n_certain - self.n_sampled, 0)
        shape = (len(self.size), n_draws)
        upper = np.where(self.n_sampled[:, None] > 0, rng.random(shape) < _HALF, rng.random(shape))
        true = self.true_sampled[:, None] + upper
        false = (self.n_sampled - self.true_sampled)[:, None] + 1 - upper
        share = rng.beta(np.maximum(true, _SMALLEST), np.maximum(false, _SMALLEST))
        return (self.true_certain + self.true_sampled)[:, None] + rng.binomial(rest[:, None], share)

    def tables(self, model: str, true: NDArray[np.int64]) -> NDArray[np.float64]:
        """Two-by-two tables of a model, shape (4, n_draws): tp, fp, fn, tn."""
        said = self.flags[:, self.models.index(model)]
        false = self.size[:, None] - true
        cells = (true[said], false[said], true[~said], false[~said])
        return np.stack([cell.sum(axis=0) for cell in cells]).astype(np.float64)

    def with_larger_sample(self, chosen: NDArray[np.bool_], factor: float) -> Strata:
        """The strata if more of some had been computed, with the same share of true ones."""
        rest = np.maximum(self.size - self.n_certain, 0)
        n_sampled = np.where(chosen, np.minimum(np.rint(self.n_sampled * factor), rest), self.n_sampled)
        share = np.divide(self.true_sampled, self.n_sampled, out=np.zeros(len(rest)), where=self.n_sampled > 0)
        true = np.where(chosen, np.rint(n_sampled * share), self.true_sampled)
        return replace(self, n_sampled=n_sampled.astype(np.int64), true_sampled=true.astype(np.int64))


@dataclass(frozen=True)
class PopulationEstimate:
    """Posterior of the scores of a model over the population.

    Parameters
    ----------
    n_population
        Materials it refers to.
    cells
        Mean of tp, fp, fn, tn.
    scores
        Median of each score; None where it is undefined, or its interval spans more than `WIDEST_INTERVAL`, or a factor
        of `WIDEST_GAIN` for the enrichment.
    intervals
        Quantiles of each score.
    advice
        What would narrow the interval of the first of `SCORES_FROM_0_TO_1` that is too wide; empty if none is.
    """

    n_population: int
    cells: tuple[float, float, float, float]
    scores: dict[str, float | None]
    intervals: dict[str, Interval]
    advice: str


def population_flags(classifications: pd.DataFrame, target: str, pool: Collection[str] | None) -> pd.DataFrame:
    """Flags of the materials that could have been chosen, one column per model; failed predictions count as negative.

    Parameters
    ----------
    classifications
        `material_id`, `model` and the flag `target`.
    target
        What was searched for.
    pool
        Materials that could be drawn; all with a prediction of any model if None.
    """
    models = sorted(classifications[Column.MODEL].unique())
    known = classifications[classifications[target].notna()]
    if pool is not None:
        known = known[known[Column.MATERIAL_ID].isin(set(pool))]
    flags = known.pivot_table(
        index=Column.MATERIAL_ID, columns=Column.MODEL, values=target, aggfunc="last", observed=True
    )
    # A model without any prediction still has a column.
    return flags.reindex(columns=models).astype("boolean").fillna(value=False)


def stratum_weights(flags: pd.DataFrame, answers: pd.DataFrame) -> NDArray[np.float64]:
    """How many materials of the population each answer stands for, shape (n,).

    A material picked by rank stands for itself, one drawn at random for its share of the others of its stratum. A stratum
    without a random answer is divided among those of the group that was drawn from, positives or negatives, in
    proportion to their sizes (collapsed strata: Cochran, Sampling Techniques, 3rd ed., sec. 5A.12). What is not in the
    population has no weight.

    Parameters
    ----------
    flags
        Output of `population_flags`.
    answers
        Materials with a DFT answer: `material_id` and `selected_as`.
    """
    patterns, stratum = np.unique(flags.to_numpy(dtype=np.bool_), axis=0, return_inverse=True)
    place = pd.Series(stratum.ravel(), index=flags.index)
    of_answer = answers[Column.MATERIAL_ID].map(place).fillna(-1).to_numpy(dtype=np.int64)
    inside = of_answer >= 0
    drawn = inside & answers[Column.SELECTED_AS].isin(SAMPLED_GROUPS).to_numpy(dtype=np.bool_)
    n_certain, n_drawn = (np.bincount(of_answer[rows], minlength=len(patterns)) for rows in (inside & ~drawn, drawn))
    rest = np.bincount(stratum.ravel(), minlength=len(patterns)) - n_certain
    share = np.divide(rest, n_drawn, out=np.zeros(len(rest)), where=n_drawn > 0)
    named = np.asarray(patterns.any(axis=1), dtype=np.bool_)
    for group in (named, ~named):
        covered = rest[group & (n_drawn > 0)].sum()
        share[group] *= rest[group].sum() / covered if covered else 0.0
    return np.where(drawn, share[of_answer], inside.astype(np.float64))


def estimate_population(strata: Strata, model: str, settings: EvaluationSettings) -> PopulationEstimate:
    """Posterior medians and intervals of the scores of a model."""
    drawn = strata.tables(model, strata.draw(settings.n_draws, settings.seed))
    intervals, scores = _summarise(drawn, settings.confidence_level)
    wide = [name for name in SCORES_FROM_0_TO_1 if _width(intervals[name]) > WIDEST_INTERVAL]
    cells = drawn.mean(axis=1)
    return PopulationEstimate(
        int(strata.size.sum()),
        (float(cells[0]), float(cells[1]), float(cells[2]), float(cells[3])),
        {name: None if name in {*wide, *_too_wide(intervals)} else value for name, value in scores.items()},
        intervals,
        _advise(strata, model, wide[0], intervals[wide[0]], settings) if wide else "",
    )


def _summarise(
    tables: NDArray[np.float64], confidence_level: float
) -> tuple[dict[str, Interval], dict[str, float | None]]:
    intervals: dict[str, Interval] = {}
    scores: dict[str, float | None] = {}
    for name, values in scores_of_tables(tables).items():
        usable = values[np.isfinite(values)]
        if not len(usable):
            intervals[name], scores[name] = Interval(None, None), None
            continue
        low, median, high = np.quantile(usable, [(1 - confidence_level) / 2, 0.5, (1 + confidence_level) / 2])
        intervals[name], scores[name] = Interval(float(low), float(high)), float(median)
    return intervals, scores


def _width(interval: Interval) -> float:
    return 0.0 if interval.low is None or interval.high is None else interval.high - interval.low


def _too_wide(intervals: dict[str, Interval]) -> list[str]:
    """MCC and gain, which do not range from 0 to 1, if their intervals are too wide."""
    gain = intervals["enrichment"]
    unsure = gain.low is not None and gain.high is not None and gain.high > WIDEST_GAIN * max(gain.low, 1e-9)
    return [*(["mcc"] if _width(intervals["mcc"]) > WIDEST_INTERVAL else []), *(["enrichment"] if unsure else [])]


def _advise(strata: Strata, model: str, score: str, interval: Interval, settings: EvaluationSettings) -> str:
    """How many more random materials, and of which group, would halve an interval if they are like those computed."""
    start = f"{Column(score).label} is unknown: {interval.low:.2f}-{interval.high:.2f}"
    any_flag = np.asarray(strata.flags.any(axis=1), dtype=np.bool_)
    options = []
    for chosen, group in ((~any_flag, "negatives"), (any_flag, "positives")):
        one = replace(strata, n_sampled=np.maximum(strata.n_sampled, chosen & (strata.size > strata.n_certain)))
        for factor in _FACTORS:
            larger = one.with_larger_sample(chosen, factor)
            drawn = larger.tables(model, larger.draw(settings.n_draws, settings.seed))
            if _width(_summarise(drawn, settings.confidence_level)[0][score]) <= _width(interval) / 2:
                options.append((int((larger.n_sampled - strata.n_sampled)[chosen].sum()), group))
                break
    if not options:
        return f"{start}; more random positives and negatives are needed."
    number, group = min(options)
    return f"{start}; compute some {number:,} more random {group} to halve the interval."
