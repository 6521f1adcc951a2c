"""The stage of a screen that classifies predicted spectra, some thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flows.stages import Counts, Inputs, Outcome
from mat2spec.crystals.composition import ElementCounts
from mat2spec.settings import model_name
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import ROWS_PER_GROUP, is_true, to_frame
from screening.choose.selection import with_consensus
from screening.classify.classes import mark_targets
from screening.classify.predictions import classify_piece, columns_to_classify, ends_of_pieces, pieces_ending_at
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    import pandas as pd

    from flows.settings import ScreenSettings


def classify_predictions(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Classify the predicted spectra, derive properties of the materials and mark what is searched for."""
    name = "gapped_metals" if settings.classify.target == Column.IS_GAPPED_METAL else "hits"
    counts = {f"{name}_{model}": 0 for model in map(model_name, settings.prediction.models)}
    return Outcome(counts, {TableName.CLASSIFICATIONS: _classified(inputs, settings, name, counts)})


def _classified(inputs: Inputs, settings: ScreenSettings, name: str, counts: Counts) -> Iterator[pd.DataFrame]:
    """The table piece by piece, all rows of a material in one; hits of each model are added to the counts."""
    columns = columns_to_classify(inputs.run.column_names(TableName.PREDICTIONS))
    rows = candidates_of_predictions(inputs)
    # The type of a column of a custom classifier follows from all of its rows.
    ends = ends_of_pieces(rows, len(rows) if settings.classify.functions else ROWS_PER_GROUP)
    start = 0
    for end, piece in zip(ends, pieces_ending_at(inputs.batches(TableName.PREDICTIONS, columns), ends), strict=True):
        table = _classes_of(piece, np.unique(rows[start:end]), inputs, settings)
        start = end
        per_model = table[is_true(table[Column.IS_TARGET])][Column.MODEL].value_counts()
        for model in map(model_name, settings.prediction.models):
            counts[f"{name}_{model}"] += int(per_model.get(model, 0))
        yield table


def candidates_of_predictions(inputs: Inputs) -> NDArray[np.int64]:
    """Row of the candidate that each prediction belongs to, shape (n_predictions,)."""
    predicted, known = (
        inputs.read_arrow(table, [Column.MATERIAL_ID])[Column.MATERIAL_ID]
        for table in (TableName.PREDICTIONS, TableName.CANDIDATES)
    )
    return pc.index_in(predicted, value_set=known.combine_chunks()).to_numpy().astype(np.int64)


def _classes_of(piece: pa.Table, rows: NDArray[np.int64], inputs: Inputs, settings: ScreenSettings) -> pd.DataFrame:
    """Classes of a piece of the predictions, which belongs to these rows of the candidates."""
    candidates = to_frame(inputs.rows(TableName.CANDIDATES, rows))
    elements = ElementCounts.from_lists([inputs.rows(TableName.CRYSTALS, rows, [Column.ATOMIC_NUMBERS])[0]])
    classes = classify_piece(piece, candidates, elements, settings.gap, settings.classify)
    table = mark_targets(classes, candidates, settings.classify.target)
    return with_consensus(table, settings.classify.rank_by, allow_outside=settings.selection.allow_outside)
