"""Precision and recall of the models against DFT, with intervals that reflect small samples.

Two estimates are given side by side. The one of the *validated set* counts the materials computed; it overestimates
recall if positives are sampled more densely than negatives. The one of the *population* is a posterior over all
materials that could have been computed (`screening.evaluate.population`): its cells are means, its scores medians. Only the
population has a `prevalence`, the share of positives, and an `enrichment`, the factor by which a pick beats a random one,
because the validated set is not a random sample. The intervals of the validated set are Wilson's for precision and recall,
otherwise those of `screening.evaluate.confusion.draw_intervals`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import is_true
from mat2spec.tables.status import Status
from screening.choose.selection import RANDOM_NEGATIVE, RANDOM_POSITIVE, SAMPLED_GROUPS, target_of
from screening.evaluate.confusion import NO_INTERVAL, Confusion, Interval, count, draw_intervals, wilson_interval
from screening.evaluate.population import PopulationEstimate, Strata, estimate_population, population_flags
from screening.evaluate.references import split_by_reference
from screening.runs.schemas import TableName, column_names
from screening.settings import EvaluationSettings

VALIDATED_SET = "validated_set"
POPULATION = "population"
_SCORES = ("precision", "recall", "f1", "mcc", "enrichment")
TARGETS = (Column.IS_GAPPED_METAL, Column.HAS_VB_GAP, Column.IS_METAL)


@dataclass(frozen=True)
class _Validated:
    """Materials with a DFT answer for one model and target: arrays of equal length, and counts of the rest."""

    predicted: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    n_failed: int
    n_missing_predictions: int
    n_not_represented: int


def precision_recall(
    classifications: pd.DataFrame,
    dft_results: pd.DataFrame,
    picks: pd.DataFrame,
    settings: EvaluationSettings | None = None,
    reference: str | None = None,
    gap_rule: str = "",
    pool: Collection[str] | None = None,
) -> pd.DataFrame:
    """Compare what the models predicted with what DFT found.

    Parameters
    ----------
    classifications
        One row per material and model, from predicted spectra: `screening.classify.gaps.classify_spectra`.
    dft_results
        One row per material: `material_id`, `status`, and the same flags, found by the same function in the DFT spectra.
        Rows that are not "ok" count as failed, not as negative. Different functionals or spins are evaluated apart.
    picks
        How the materials were chosen: `Selection.picks`.
    settings
        Intervals.
    reference
        Name of the method that counts as the truth; the column `engine` of the results if None.
    gap_rule
        The rule in words: `GapSettings.describe`.
    pool
        Materials that could be drawn: `screening.choose.selection.drawable`; all that are classified if None.

    Returns
    -------
    pandas.DataFrame
        One row per reference, model, target (gapped metal, VB gap, metal, and the target of the search) and estimate.
        `n` materials were computed and counted, `n_failed` chosen but without an answer, `n_missing_predictions` counted
        as predicted negative because the model failed on them, `n_not_represented` predicted positives of any model that
        were not chosen and that no random positive represents. Undefined ratios are null. Only the target of the search
        has a population row; `advice` says what would make a score known that is null because its interval is too wide.

    Raises
    ------
    ValueError
        If the DFT results hold spectra that were not classified.
    """
    settings = settings or EvaluationSettings()
    searched = _searched(classifications)
    flags = population_flags(classifications, searched, pool)
    targets = TARGETS if searched in TARGETS else (searched, *TARGETS)
    rows: list[dict[str, object]] = []
    for level, results in split_by_reference(dft_results, reference):
        truth = _answers(results, picks, targets)
        strata = _strata(flags, truth, searched)
        for model, group in sorted(classifications.groupby(Column.MODEL), key=lambda pair: str(pair[0])):
            for target in targets:
                validated = _validate(group, truth, classifications, target, searched)
                head: dict[str, object] = {Column.MODEL: str(model), Column.TARGET: str(target)}
                head |= level.columns() | {Column.GAP_RULE: gap_rule}
                rows.append(head | _validated_set_row(validated, settings))
                if target == searched and strata is not None:
                    rows.append(head | _population_row(validated, estimate_population(strata, str(model), settings)))
    return pd.DataFrame(rows, columns=column_names(TableName.PRECISION_RECALL))


def _searched(classifications: pd.DataFrame) -> Column:
    """The class by which the picks were chosen: the user's condition, or gapped metals."""
    searched = Column(target_of(classifications))
    hits, gapped = (is_true(classifications[column]) for column in (searched, Column.IS_GAPPED_METAL))
    return Column.IS_GAPPED_METAL if np.array_equal(hits, gapped) else searched


def _answers(dft_results: pd.DataFrame, picks: pd.DataFrame, targets: Sequence[Column]) -> pd.DataFrame:
    """Join each pick with its DFT answer; a pick without one has null flags."""
    flags = [str(target) for target in targets]
    results = dft_results[dft_results[Column.STATUS] == Status.OK]
    missing = [flag for flag in flags if flag not in results]
    if missing and len(results):
        raise ValueError(
            f"The DFT results lack {', '.join(missing)}; classify their spectra with classify_spectra first."
        )
    results = results.reindex(columns=[*results.columns, *missing])
    results = results[[Column.MATERIAL_ID, *flags]].drop_duplicates(Column.MATERIAL_ID, keep="last")
    chosen = picks[[Column.MATERIAL_ID, Column.SELECTED_AS, Column.INCLUSION_PROBABILITY]]
    return chosen.merge(results, on=Column.MATERIAL_ID, how="left")


def _validate(
    predictions: pd.DataFrame, answers: pd.DataFrame, all_predictions: pd.DataFrame, target: Column, searched: Column
) -> _Validated:
    answered = answers[target].notna().to_numpy(dtype=np.bool_)
    known = answers[answered]
    predicted = known[Column.MATERIAL_ID].map(predictions.set_index(Column.MATERIAL_ID)[target])
    positive_ids = set(all_predictions.loc[is_true(all_predictions[target]), Column.MATERIAL_ID])
    return _Validated(
        predicted=is_true(predicted),
        truth=is_true(known[target]),
        n_failed=len(answers) - len(known),
        n_missing_predictions=int(predicted.isna().sum()),
        n_not_represented=len(positive_ids - set(answers[Column.MATERIAL_ID]))
        - (_n_stood_for(answers, answered) if target == searched else 0),
    )


def _n_stood_for(picks: pd.DataFrame, answered: NDArray[np.bool_]) -> int:
    """Predicted positives that were not chosen and that the random positives represent; 0 if none has an answer."""
    random = _group(picks, RANDOM_POSITIVE)
    return round(_population_of(picks, random)) - int(random.sum()) if (random & answered).any() else 0


def _group(picks: pd.DataFrame, kind: str) -> NDArray[np.bool_]:
    return (picks[Column.SELECTED_AS] == kind).to_numpy(dtype=np.bool_)


def _population_of(picks: pd.DataFrame, members: NDArray[np.bool_]) -> float:
    """Size of the group that some picks were drawn from."""
    return float((1 / picks.loc[members, Column.INCLUSION_PROBABILITY]).sum())


def design_weights(picks: pd.DataFrame, answered: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """How many materials of the population each answered pick represents.

    Parameters
    ----------
    picks
        `selected_as` and `inclusion_probability` of all picks.
    answered
        Which of them have an answer, shape (n,).

    Returns
    -------
    NDArray or None
        Shape (answered.sum(),): one for a pick made by its rank; for a random positive or negative the size of its
        group, shared by those with an answer. None if no random negative has one.
    """
    if not (_group(picks, RANDOM_NEGATIVE) & answered).any():
        return None
    weights = np.ones(len(picks))
    for kind in SAMPLED_GROUPS:
        members = _group(picks, kind)
        weights[members] = _population_of(picks, members) / max(int((members & answered).sum()), 1)
    return weights[answered]


def _validated_set_row(validated: _Validated, settings: EvaluationSettings) -> dict[str, object]:
    counts = count(validated.predicted, validated.truth)
    tp, fp, fn = int(counts.tp), int(counts.fp), int(counts.fn)
    recall = wilson_interval(tp, tp + fn, settings.confidence_level)
    precision = wilson_interval(tp, tp + fp, settings.confidence_level)
    drawn = draw_intervals(
        validated.predicted,
        validated.truth,
        np.ones(len(validated.truth)),
        confidence_level=settings.confidence_level,
        n_draws=settings.n_draws,
        seed=settings.seed,
    )
    row = _row(VALIDATED_SET, validated, counts, drawn | {"precision": precision, "recall": recall})
    # Its share of positives is a consequence of the selection.
    unknown = (Column.PREVALENCE, Column.ENRICHMENT, Column.ENRICHMENT_LOW, Column.ENRICHMENT_HIGH)
    return row | dict.fromkeys(unknown)


def _strata(flags: pd.DataFrame, answers: pd.DataFrame, target: Column) -> Strata | None:
    """Counts of the answers; None if no random negative has one, so that nothing represents the negatives."""
    known = answers[answers[target].notna()]
    if not (known[Column.SELECTED_AS] == RANDOM_NEGATIVE).any():
        return None
    known = known[[Column.MATERIAL_ID, Column.SELECTED_AS]].assign(truth=is_true(known[target]))
    return Strata.of(flags, known)


def _population_row(validated: _Validated, found: PopulationEstimate) -> dict[str, object]:
    """Posterior of the scores over all that could have been computed.

    Picks whose DFT failed are represented by the others of their stratum.
    """
    row = _row(POPULATION, validated, Confusion(*found.cells), found.intervals)
    known: dict[str, object] = {name: found.scores[name] for name in ("prevalence", *_SCORES)}
    return row | known | {Column.N_POPULATION: found.n_population, Column.ADVICE: found.advice}


def _row(estimate: str, validated: _Validated, counts: Confusion, intervals: dict[str, Interval]) -> dict[str, object]:
    row: dict[str, object] = {
        Column.ESTIMATE: estimate,
        Column.N: len(validated.truth),
        Column.PREVALENCE: counts.prevalence,
        Column.N_FAILED: validated.n_failed,
        Column.N_MISSING_PREDICTIONS: validated.n_missing_predictions,
        Column.N_NOT_REPRESENTED: validated.n_not_represented,
    }
    return row | cells_of(counts) | scores_of(counts, intervals, _SCORES)


def cells_of(counts: Confusion) -> dict[str, object]:
    """The cells of a table by the names of their columns."""
    return {
        Column.TRUE_POSITIVES: counts.tp,
        Column.FALSE_POSITIVES: counts.fp,
        Column.FALSE_NEGATIVES: counts.fn,
        Column.TRUE_NEGATIVES: counts.tn,
    }


def scores_of(counts: Confusion, intervals: dict[str, Interval], names: Sequence[str]) -> dict[str, object]:
    """Scores of a table with their intervals by the names of their columns."""
    scores: dict[str, object] = {}
    for name in names:
        interval = intervals.get(name, NO_INTERVAL)
        scores |= {name: getattr(counts, name), f"{name}_low": interval.low, f"{name}_high": interval.high}
    return scores
