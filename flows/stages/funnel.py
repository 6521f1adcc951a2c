"""The stages of a funnel: the fast model scans every candidate, and the accurate models predict what may matter.

For large sources the funnel takes over by itself. The science is in `screening.choose.funnel`; here it meets run folders and
settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

import mat2spec
from flows import stages
from flows.settings import FunnelMode
from flows.stages import Inputs, Outcome
from mat2spec.crystals.primitive import CellSizes
from mat2spec.settings import SHIPPED_WEIGHTS_DIR, model_name
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.prediction import predictions_table
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import is_true, matrix_column
from mat2spec.tables.status import Status
from screening.choose.funnel import (
    TO_ACCURATE,
    Cut,
    FunnelChoice,
    choose,
    fast_scores,
    load_cut,
    reason_of_choice,
    score_features,
)
from screening.evaluate.funnel_loss import funnel_loss
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    from flows.settings import ScreenSettings
    from mat2spec.crystals.arrays import Crystals
    from mat2spec.preparation import Prepared
    from screening.runs.contents import RunTables


class FunnelError(ValueError):
    """A funnel was asked for and cannot be used; the message says why."""


def cut_of(settings: ScreenSettings) -> Cut | None:
    """Calibration of the funnel of these settings; None if they exclude a funnel.

    Raises
    ------
    FunnelError
        If they ask for a funnel that cannot be used.
    """
    if settings.funnel.mode is FunnelMode.NEVER:
        return None
    cut, why = _find_cut(settings)
    if cut is None and settings.funnel.mode is FunnelMode.ALWAYS:
        raise FunnelError(f"The funnel cannot be used: {why} Leave out --funnel, or give --exhaustive.")
    return cut


def _find_cut(settings: ScreenSettings) -> tuple[Cut | None, str]:
    """The calibration, or why there is none, as a sentence."""
    fast, accurate = settings.funnel.fast_model, settings.prediction.models[0]
    if settings.classify.target != Column.IS_GAPPED_METAL:
        return None, "its cut was chosen for gapped metals, and something else is searched for."
    cut = load_cut(settings.prediction.weights_dir or SHIPPED_WEIGHTS_DIR, fast, accurate)
    if cut is None:
        return None, f"no cut is known for '{fast}' before '{model_name(accurate)}'."
    hashes = [
        predictor.weights_hash
        for predictor in (fast_predictor(settings), stages.load_predictors(settings.prediction)[0])
    ]
    if hashes != [cut.fast_weights, cut.accurate_weights]:
        return None, f"its cut belongs to other weights of '{fast}' or '{accurate}'; run scripts/calibrate_funnel.py."
    return cut, ""


def fast_predictor(settings: ScreenSettings) -> mat2spec.prediction.Predictor:
    """The predictor of the fast model."""
    models = [settings.funnel.fast_model]
    return stages.load_predictors(settings.prediction.model_copy(update={"models": models}))[0]


def is_in_use(run: RunTables, settings: ScreenSettings) -> bool:
    """Whether a funnel stands before the accurate model: asked for, or by itself before many candidates."""
    if run.has_table(TableName.FUNNEL):
        return True
    n_candidates = run.count_rows(TableName.CANDIDATES)
    is_large = settings.funnel.mode is FunnelMode.ALWAYS or n_candidates >= settings.funnel.from_candidates
    return is_large and cut_of(settings) is not None


def describe(settings: ScreenSettings, n_candidates: int) -> str:
    """What the funnel does with these candidates, as a sentence."""
    fast, accurate = settings.funnel.fast_model, settings.prediction.models[0]
    return (
        f"{fast} reads all {n_candidates:,} candidates, {accurate} only what may be a gapped metal: at most "
        f"{settings.funnel.max_accurate:,} and a random sample of {settings.funnel.n_sample:,}; --exhaustive reads all."
    )


def prepare_scan(crystals: Crystals, settings: ScreenSettings, sizes: CellSizes | None = None) -> Prepared:
    """Examine some candidates and make their graphs for the fast model."""
    return mat2spec.prepare_for([fast_predictor(settings)], crystals, sizes)


def scan_shard(prepared: Prepared, settings: ScreenSettings, on_batch: Callable[[int], None]) -> pa.Table:
    """Predict the spectra of some candidates with the fast model."""
    (prediction,) = mat2spec.predict_with_models([fast_predictor(settings)], prepared, on_batch)
    return predictions_table(prediction)


def choose_by_scan(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Score what the fast model predicts and choose what the accurate model predicts."""
    cut = cut_of(settings)
    assert cut is not None
    names = [Column.MATERIAL_ID, Column.NSITES, Column.NSITES_PRIMITIVE, Column.VOLUME]
    candidates = inputs.read(TableName.CANDIDATES, names)
    scores = [np.empty(0)]
    start = 0
    for rows in inputs.batches(TableName.SCAN, (Column.EDOS, Column.RELATIVE_ERROR)):
        sizes = CellSizes.of_rows(candidates.iloc[start : start + len(rows)])
        start += len(rows)
        spectra = matrix_column(rows, Column.EDOS, EDOS_GRID.size)
        features = score_features(spectra, rows[Column.RELATIVE_ERROR].to_numpy(), sizes, settings.gap)
        scores.append(fast_scores(features, cut))
    score, limits = np.concatenate(scores), settings.funnel
    choices = choose(score, cut.cut, limits.max_accurate, limits.n_sample, limits.seed)
    table = pd.DataFrame(
        {
            Column.MATERIAL_ID: candidates[Column.MATERIAL_ID],
            Column.FUNNEL_SCORE: score,
            Column.FUNNEL_CHOICE: choices.astype(str),
        }
    )
    counts = {str(choice).replace(" ", "_"): int((choices == choice).sum()) for choice in FunnelChoice}
    return Outcome(counts, {TableName.FUNNEL: table})


def all_candidates(run: RunTables) -> NDArray[np.int64]:
    """Rows of all candidates of a run."""
    return np.arange(run.count_rows(TableName.CANDIDATES))


def to_predict(run: RunTables) -> NDArray[np.int64]:
    """Rows of the candidates that the accurate models predict: all without a funnel."""
    if not run.has_table(TableName.FUNNEL):
        return all_candidates(run)
    choices = run.read_arrow(TableName.FUNNEL, [Column.FUNNEL_CHOICE])[Column.FUNNEL_CHOICE]
    return np.flatnonzero(pc.is_in(choices, value_set=pa.array([str(choice) for choice in TO_ACCURATE])))


def left_to_fast(run: RunTables, settings: ScreenSettings) -> Iterator[pa.Table]:
    """Rows of the table of predictions where the prediction of the fast model stands; none without a funnel."""
    if not run.has_table(TableName.FUNNEL):
        return
    choices = run.read_arrow(TableName.FUNNEL, [Column.FUNNEL_CHOICE])[Column.FUNNEL_CHOICE].to_numpy()
    leader, start = model_name(settings.prediction.models[0]), 0
    for rows in run.batches(TableName.SCAN):
        choice = choices[start : start + len(rows)]
        start += len(rows)
        is_left = ~np.isin(choice, [str(one) for one in TO_ACCURATE])
        left, words = rows.filter(pa.array(is_left)), choice[is_left]
        reasons = [
            f"{reason_of_choice(word, settings.funnel.fast_model, leader)} {reason}".strip()
            if status == Status.OK
            else reason
            for word, status, reason in zip(
                words, left[Column.STATUS].to_pylist(), left[Column.REASON].to_pylist(), strict=True
            )
        ]
        left = _replaced(left, Column.REASON, reasons)
        yield _replaced(left, Column.MODEL, [leader] * len(left))


def _replaced(table: pa.Table, name: Column, values: list[str]) -> pa.Table:
    return table.set_column(table.column_names.index(name), str(name), pa.array(values, pa.string()))


def measure_funnel(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """How many gapped metals of the accurate model the funnel loses, by the random sample."""
    table = inputs.read(TableName.FUNNEL, [Column.MATERIAL_ID, Column.FUNNEL_CHOICE])
    classes = inputs.read(TableName.CLASSIFICATIONS, [Column.MATERIAL_ID, Column.MODEL, Column.IS_TARGET])
    leader = model_name(settings.prediction.models[0])
    own = classes[classes[Column.MODEL] == leader]
    hits = pd.Index(own.loc[is_true(own[Column.IS_TARGET]), Column.MATERIAL_ID])
    loss = funnel_loss(
        table[Column.FUNNEL_CHOICE].to_numpy(dtype=object),
        table[Column.MATERIAL_ID].isin(hits).to_numpy(),
        settings.funnel.fast_model,
        leader,
        settings.evaluation.confidence_level,
    )
    counts = {str(name): int(loss[name].iloc[0]) for name in (Column.N_SAMPLED, Column.N_FOUND_IN_SAMPLE)}
    return Outcome(counts, {TableName.FUNNEL_LOSS: loss})
