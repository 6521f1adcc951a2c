"""Precision and recall of the models against DFT, with intervals that say how little a few runs tell.

Two estimates stand side by side. That of the *validated set* counts the materials computed. It
flatters recall when positives are sampled more densely than negatives; that of the *population*
weights the random negatives up to all the predicted negatives they stand for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from screening.columns import Column
from screening.selection import RANDOM_NEGATIVE

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

VALIDATED_SET = "validated_set"
POPULATION = "population"
TARGETS = (Column.IS_GAPPED_METAL, Column.HAS_VB_GAP, Column.IS_METAL)
STATUS_OK = "ok"


class EvaluationSettings(BaseModel):
    """How models are compared with DFT."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence_level: float = Field(
        default=0.95, gt=0, lt=1, description="Level of the Wilson score intervals of precision and recall."
    )


@dataclass(frozen=True)
class Interval:
    """Lower and upper end of a confidence interval; None where nothing was counted."""

    low: float | None
    high: float | None


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


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def wilson_interval(successes: int, trials: int, confidence_level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion (Wilson, J. Am. Stat. Assoc. 22, 209, 1927)."""
    if trials == 0:
        return Interval(None, None)
    from scipy.stats import binomtest

    ends = binomtest(successes, trials).proportion_ci(confidence_level, method="wilson")
    return Interval(float(ends.low), float(ends.high))


@dataclass(frozen=True)
class _Validated:
    """Materials with a DFT answer for one model and target: arrays of one length, and what is not in them."""

    predicted: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    random_negative: NDArray[np.bool_]
    n_population_negatives: float | None
    n_failed: int
    n_missing_predictions: int
    n_not_represented: int


def precision_recall(
    classifications: pd.DataFrame,
    dft_results: pd.DataFrame,
    picks: pd.DataFrame,
    settings: EvaluationSettings | None = None,
    reference: str = "gpaw-pbe",
    setting: str = "",
) -> pd.DataFrame:
    """Compare what the models predicted with what DFT found.

    Parameters
    ----------
    classifications
        One row per material and model, from predicted spectra: `screening.gaps.classify_spectra`.
    dft_results
        One row per material: `material_id`, `status` ("ok" or why not), and the same flags, found
        by the same function in the DFT spectra. Rows that are not "ok" count as failed, not as negative.
    picks
        How the materials were chosen: `Selection.picks`.
    settings
        Level of the intervals.
    reference
        Name of the method that counts as the truth.
    setting
        The rule in words: `GapSettings.describe`.

    Returns
    -------
    pandas.DataFrame
        Per model, target (gapped metal, VB gap, metal) and estimate one row. `n` materials were
        computed and counted, `n_failed` chosen but without an answer, `n_missing_predictions`
        counted as predicted negative because the model failed on them, and `n_not_represented`
        predicted positives of any model that were not computed and for which nothing stands.
        Undefined ratios are null. The population row of the target `is_gapped_metal` weights each
        random negative by the inverse of its inclusion probability; its recall interval carries
        the Wilson interval of the share of missed positives among the random negatives.

    Raises
    ------
    ValueError
        If the DFT results hold spectra that were not classified.
    """
    import pandas as pd

    settings = settings or EvaluationSettings()
    truth = _answers(dft_results, picks)
    rows: list[dict[str, object]] = []
    for model, group in sorted(classifications.groupby(Column.MODEL), key=lambda pair: str(pair[0])):
        for target in TARGETS:
            validated = _validate(group, truth, classifications, target)
            head = {
                Column.MODEL: str(model),
                Column.TARGET: str(target),
                Column.SETTING: setting,
                Column.REFERENCE: reference,
            }
            rows.append(head | _validated_set_row(validated, settings))
            if target == Column.IS_GAPPED_METAL and validated.n_population_negatives is not None:
                rows.append(head | _population_row(validated, settings))
    return pd.DataFrame(rows, columns=list(PRECISION_RECALL_COLUMNS))


PRECISION_RECALL_COLUMNS = tuple(
    str(name)
    for name in (
        Column.MODEL,
        Column.TARGET,
        Column.ESTIMATE,
        Column.SETTING,
        Column.REFERENCE,
        Column.N,
        Column.TRUE_POSITIVES,
        Column.FALSE_POSITIVES,
        Column.FALSE_NEGATIVES,
        Column.TRUE_NEGATIVES,
        Column.PRECISION,
        Column.PRECISION_LOW,
        Column.PRECISION_HIGH,
        Column.RECALL,
        Column.RECALL_LOW,
        Column.RECALL_HIGH,
        Column.F1,
        Column.MCC,
        Column.N_FAILED,
        Column.N_MISSING_PREDICTIONS,
        Column.N_NOT_REPRESENTED,
    )
)


def _answers(dft_results: pd.DataFrame, picks: pd.DataFrame) -> pd.DataFrame:
    """Join each pick with its DFT answer; a pick without one has null flags."""
    flags = [str(target) for target in TARGETS]
    results = dft_results[dft_results[Column.STATUS] == STATUS_OK]
    missing = [flag for flag in flags if flag not in results]
    if missing and len(results):
        raise ValueError(
            f"The DFT results lack {', '.join(missing)}; classify their spectra with classify_spectra first."
        )
    results = results.reindex(columns=[*results.columns, *missing])
    results = results[[str(Column.MATERIAL_ID), *flags]].drop_duplicates(Column.MATERIAL_ID, keep="last")
    chosen = picks[[str(Column.MATERIAL_ID), str(Column.SELECTED_AS), str(Column.INCLUSION_PROBABILITY)]]
    return chosen.merge(results, on=Column.MATERIAL_ID, how="left")


def _validate(
    predictions: pd.DataFrame, answers: pd.DataFrame, all_predictions: pd.DataFrame, target: Column
) -> _Validated:
    known = answers[answers[target].notna()]
    predicted = known[Column.MATERIAL_ID].map(predictions.set_index(Column.MATERIAL_ID)[target])
    random = answers[answers[Column.SELECTED_AS] == RANDOM_NEGATIVE]
    n_random_known = int((known[Column.SELECTED_AS] == RANDOM_NEGATIVE).sum())
    positive_ids = set(all_predictions.loc[_is_true(all_predictions[target]), Column.MATERIAL_ID])
    return _Validated(
        predicted=_is_true(predicted),
        truth=_is_true(known[target]),
        random_negative=(known[Column.SELECTED_AS] == RANDOM_NEGATIVE).to_numpy(dtype=np.bool_),
        n_population_negatives=float((1 / random[Column.INCLUSION_PROBABILITY]).sum()) if n_random_known else None,
        n_failed=len(answers) - len(known),
        n_missing_predictions=int(predicted.isna().sum()),
        n_not_represented=len(positive_ids - set(answers[Column.MATERIAL_ID])),
    )


def _is_true(flags: pd.Series) -> NDArray[np.bool_]:
    """Flags as booleans; unknown is false."""
    return flags.astype("boolean").fillna(value=False).to_numpy(dtype=np.bool_)


def _count(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Confusion:
    return Confusion(
        tp=int((predicted & truth).sum()),
        fp=int((predicted & ~truth).sum()),
        fn=int((~predicted & truth).sum()),
        tn=int((~predicted & ~truth).sum()),
    )


def _validated_set_row(validated: _Validated, settings: EvaluationSettings) -> dict[str, object]:
    counts = _count(validated.predicted, validated.truth)
    tp, fp, fn = int(counts.tp), int(counts.fp), int(counts.fn)
    recall = wilson_interval(tp, tp + fn, settings.confidence_level)
    precision = wilson_interval(tp, tp + fp, settings.confidence_level)
    return _row(VALIDATED_SET, validated, counts, precision, recall)


def _population_row(validated: _Validated, settings: EvaluationSettings) -> dict[str, object]:
    """Weight the random negatives up to the population they were drawn from.

    Every random negative is negative for every model, so only fn and tn change. Those of them
    whose DFT failed are stood for by the others.
    """
    random = validated.random_negative
    certain = _count(validated.predicted[~random], validated.truth[~random])
    missed, drawn = int(validated.truth[random].sum()), int(random.sum())
    size = validated.n_population_negatives or 0.0
    counts = Confusion(
        certain.tp, certain.fp, certain.fn + size * missed / drawn, certain.tn + size * (drawn - missed) / drawn
    )
    share = wilson_interval(missed, drawn, settings.confidence_level)
    precision = wilson_interval(int(certain.tp), int(certain.tp + certain.fp), settings.confidence_level)
    recall = Interval(
        low=_share(certain.tp, certain.tp + certain.fn + size * (share.high or 0.0)),
        high=_share(certain.tp, certain.tp + certain.fn + size * (share.low or 0.0)),
    )
    return _row(POPULATION, validated, counts, precision, recall)


def _row(
    estimate: str, validated: _Validated, counts: Confusion, precision: Interval, recall: Interval
) -> dict[str, object]:
    return {
        Column.ESTIMATE: estimate,
        Column.N: len(validated.truth),
        Column.TRUE_POSITIVES: float(counts.tp),
        Column.FALSE_POSITIVES: float(counts.fp),
        Column.FALSE_NEGATIVES: float(counts.fn),
        Column.TRUE_NEGATIVES: float(counts.tn),
        Column.PRECISION: counts.precision,
        Column.PRECISION_LOW: precision.low,
        Column.PRECISION_HIGH: precision.high,
        Column.RECALL: counts.recall,
        Column.RECALL_LOW: recall.low,
        Column.RECALL_HIGH: recall.high,
        Column.F1: counts.f1,
        Column.MCC: counts.mcc,
        Column.N_FAILED: validated.n_failed,
        Column.N_MISSING_PREDICTIONS: validated.n_missing_predictions,
        Column.N_NOT_REPRESENTED: validated.n_not_represented,
    }
