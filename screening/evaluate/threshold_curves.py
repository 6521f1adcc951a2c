"""Precision and recall for other gap rules, from stored spectra: nothing is predicted again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mat2spec.crystals.primitive import CellSizes
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import matrix_column
from mat2spec.tables.status import Status
from screening.classify.gaps import classify_spectra
from screening.classify.metals import MetalEvidence
from screening.evaluate.confusion import count, draw_intervals
from screening.evaluate.evaluation import (
    POPULATION,
    VALIDATED_SET,
    cells_of,
    design_weights,
    is_true,
    scores_of,
)
from screening.evaluate.population import stratum_weights
from screening.evaluate.references import split_by_reference
from screening.runs.schemas import TableName, column_names
from screening.settings import EvaluationSettings, GapSettings

# Either only the predictions are classified by the other rule and the truth by the run's, or both by the other.
PREDICTION_MOVED = "prediction"
BOTH_MOVED = "both"
# Computed spectra need no confidence; fewer threshold steps save time.
_FEWEST_CONFIDENCE_STEPS = 3
# The intervals of a thousand rows need no third digit.
_MOST_DRAWS = 500

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class _Spectra:
    """Validated materials: their DFT spectra and the predicted ones of each model, NaN where missing."""

    dft: NDArray[np.float32]
    predicted: dict[str, NDArray[np.float32]]
    evidence: dict[str, MetalEvidence | None]
    sizes: CellSizes
    weights: NDArray[np.float64] | None


def threshold_curve(
    predictions: pd.DataFrame,
    dft_results: pd.DataFrame,
    picks: pd.DataFrame,
    candidates: pd.DataFrame,
    gap: GapSettings,
    settings: EvaluationSettings | None = None,
    reference: str | None = None,
    flags: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Precision and recall of gapped metals over the DOS threshold, the minimum width and the window of a gap.

    Parameters
    ----------
    predictions
        `material_id`, `model`, `edos`, and, if there, `prior_metal_probability`: what the metal head says; without it,
        as in older runs, spectra are classified like computed ones.
    dft_results
        `material_id`, `status`, `edos`, and where known the level of theory.
    picks
        How the materials were chosen: `Selection.picks`.
    candidates
        `material_id`, where known `band_gap`, and the sizes of the cells: `mat2spec.crystals.primitive.CellSizes.of_rows`.
    gap
        The rule of the run, which is varied.
    settings
        How far it is varied.
    reference
        As for `screening.evaluate.evaluation.precision_recall`.
    flags
        What the run says of all that could be chosen (`screening.evaluate.population.population_flags`): the population is
        weighted by the strata of its estimate. Without it, by the groups that were drawn from.

    Returns
    -------
    pandas.DataFrame
        Per reference, model, rule and estimate one row with the cells of the weighted table, precision and recall
        with intervals of `screening.evaluate.confusion.draw_intervals`. `moved` is "prediction" if only the predictions
        were classified by the varied rule, which is how a better threshold for a model is found, or "both".
    """
    settings = settings or EvaluationSettings()
    rows = []
    for level, results in split_by_reference(dft_results, reference):
        spectra = _validated_spectra(predictions, results, picks, candidates, flags)
        rows += [level.columns() | row for row in _rows(spectra, gap, settings)]
    return pd.DataFrame(rows, columns=column_names(TableName.THRESHOLD_CURVE))


def moved_rules(gap: GapSettings, settings: EvaluationSettings) -> list[GapSettings]:
    """All rules of the curve, including the run's own."""
    thresholds = [gap.dos_threshold * factor for factor in settings.curve_threshold_factors]
    axes = (
        sorted({*thresholds, gap.dos_threshold}),
        sorted({*settings.curve_min_width_ev, gap.min_width_ev}),
        sorted({*(top for top in settings.curve_top_min_ev if top <= gap.top_max_ev), gap.top_min_ev}),
    )
    names = (gap.threshold_field, "min_width_ev", "top_min_ev")
    return [gap.model_copy(update=dict(zip(names, values, strict=True))) for values in itertools.product(*axes)]


def _validated_spectra(
    predictions: pd.DataFrame,
    results: pd.DataFrame,
    picks: pd.DataFrame,
    candidates: pd.DataFrame,
    flags: pd.DataFrame | None,
) -> _Spectra:
    computed = results[results[Column.STATUS] == Status.OK].drop_duplicates(Column.MATERIAL_ID, keep="last")
    answered = picks[Column.MATERIAL_ID].isin(computed[Column.MATERIAL_ID]).to_numpy(dtype=np.bool_)
    material_ids = picks.loc[answered, Column.MATERIAL_ID].tolist()
    predicted = {
        str(model): _matrix(group, material_ids) for model, group in predictions.groupby(Column.MODEL, sort=True)
    }
    rows = candidates.set_index(Column.MATERIAL_ID).loc[material_ids]
    evidence = {
        str(model): _evidence(group, str(model), rows) for model, group in predictions.groupby(Column.MODEL, sort=True)
    }
    weights = _weights(flags, picks, answered)
    return _Spectra(_matrix(computed, material_ids), predicted, evidence, CellSizes.of_rows(rows), weights)


def _matrix(rows: pd.DataFrame, material_ids: list[str]) -> NDArray[np.float32]:
    """Spectra of materials in the given order, shape (n, bins)."""
    ordered = rows.set_index(Column.MATERIAL_ID)[[Column.EDOS]].reindex(material_ids)
    return matrix_column(ordered, Column.EDOS, EDOS_GRID.size)


def _evidence(rows: pd.DataFrame, model: str, materials: pd.DataFrame) -> MetalEvidence | None:
    """What is known of the materials beside a model's spectra, in their order; None in a run that did not ask."""
    if Column.PRIOR_METAL_PROBABILITY not in rows:
        return None
    known = rows.set_index(Column.MATERIAL_ID).reindex(materials.index).assign(**{Column.MODEL: model})
    band_gaps = materials.get(Column.BAND_GAP, pd.Series(np.nan, index=materials.index))
    return MetalEvidence.of_rows(known, np.asarray(band_gaps.to_numpy(na_value=np.nan), dtype=np.float64))


def _weights(
    flags: pd.DataFrame | None, picks: pd.DataFrame, answered: NDArray[np.bool_]
) -> NDArray[np.float64] | None:
    """How many materials each answered pick stands for; None if no random negative has an answer."""
    weights = design_weights(picks, answered)
    return weights if flags is None or weights is None else stratum_weights(flags, picks[answered])


def _rows(spectra: _Spectra, gap: GapSettings, settings: EvaluationSettings) -> Iterator[dict[str, object]]:
    own_truth = _gapped_metals(spectra, gap)[0]
    for rule in moved_rules(gap, settings):
        moved_truth, *all_predicted = _gapped_metals(spectra, rule)
        for model, predicted in zip(spectra.predicted, all_predicted, strict=True):
            for moved, truth in ((PREDICTION_MOVED, own_truth), (BOTH_MOVED, moved_truth)):
                head = {Column.MODEL: model, Column.MOVED: moved, **_rule_columns(rule)}
                yield head | _estimate(VALIDATED_SET, predicted, truth, np.ones(len(truth)), settings)
                if spectra.weights is not None:
                    yield head | _estimate(POPULATION, predicted, truth, spectra.weights, settings)


def _gapped_metals(spectra: _Spectra, rule: GapSettings) -> list[NDArray[np.bool_]]:
    """Classes of the DFT spectra and of each model's; all models with evidence in one call, which is faster."""
    sizes, few = spectra.sizes, rule.model_copy(update={"confidence_steps": _FEWEST_CONFIDENCE_STEPS})

    def classes(values: list[NDArray[np.float32]], gap: GapSettings, evidence: MetalEvidence | None) -> list[Flags]:
        n = len(values)
        n_sites, n_primitive = np.tile(sizes.n_sites, n), np.tile(sizes.n_primitive, n)
        found = classify_spectra(np.concatenate(values), EDOS_GRID, gap, n_sites, n_primitive, evidence)
        return np.split(is_true(found[Column.IS_GAPPED_METAL]), n)

    with_evidence = {model: known for model, known in spectra.evidence.items() if known is not None}
    plain = [model for model in spectra.predicted if model not in with_evidence]
    truth, *alone = classes([spectra.dft, *(spectra.predicted[model] for model in plain)], few, None)
    predicted = [spectra.predicted[model] for model in with_evidence]
    judged = classes(predicted, rule, _joined(with_evidence.values())) if with_evidence else []
    found = dict(zip([*plain, *with_evidence], [*alone, *judged], strict=True))
    return [truth, *(found[model] for model in spectra.predicted)]


def _joined(parts: Iterable[MetalEvidence]) -> MetalEvidence:
    known = list(parts)
    return MetalEvidence(
        *(np.concatenate(values) for values in zip(*(vars(one).values() for one in known), strict=True))
    )


def _rule_columns(rule: GapSettings) -> dict[str, object]:
    return {
        Column.DOS_THRESHOLD: rule.dos_threshold,
        Column.MIN_WIDTH_EV: rule.min_width_ev,
        Column.TOP_MIN_EV: rule.top_min_ev,
        Column.TOP_MAX_EV: rule.top_max_ev,
    }


def _estimate(
    name: str,
    predicted: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    weights: NDArray[np.float64],
    settings: EvaluationSettings,
) -> dict[str, object]:
    counts = count(predicted, truth, weights)
    intervals = draw_intervals(
        predicted,
        truth,
        weights,
        confidence_level=settings.confidence_level,
        n_draws=min(settings.n_draws, _MOST_DRAWS),
        seed=settings.seed,
    )
    row = {Column.ESTIMATE: name, Column.N: len(truth), Column.F1: counts.f1}
    enrichment = counts.enrichment if name == POPULATION else None
    return (
        row | cells_of(counts) | scores_of(counts, intervals, ("precision", "recall")) | {Column.ENRICHMENT: enrichment}
    )
