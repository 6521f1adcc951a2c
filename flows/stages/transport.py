"""The stage of a screen that computes masses and Seebeck coefficients of the picks, where a model has bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

import mat2spec
from flows.stages import Inputs, Outcome, load_predictors, ranked_hits
from mat2spec.settings import TIGHT_BINDING_MODELS, PredictionSettings
from mat2spec.tables.parquet import to_frame
from screening.runs.schemas import TableName, empty_table

if TYPE_CHECKING:
    from flows.settings import ScreenSettings
    from mat2spec.crystals.arrays import Crystals


def compute_transport(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Masses and Seebeck coefficients of the picks of the highest ranks."""
    chosen = ranked_hits(inputs)[: settings.prediction.max_transport]
    table = to_frame(empty_table(TableName.TRANSPORT))
    if chosen and tight_binding_models(settings.prediction) and inputs.run.has_table(TableName.CRYSTALS):
        found = transport_by(settings.prediction, inputs.crystals(chosen))
        table = table if found.empty else found
    return Outcome({"computed": len(table)}, {TableName.TRANSPORT: table})


def transport_by(settings: PredictionSettings, crystals: Crystals) -> pd.DataFrame:
    """The rows of crystals whose bands can be solved, by the first of `tight_binding_models`."""
    model = tight_binding_models(settings)[0]
    (predictor,) = load_predictors(settings.model_copy(update={"models": [model]}))
    return mat2spec.transport_table(crystals, predictor)


def tight_binding_models(settings: PredictionSettings) -> list[str]:
    """The models of the settings that have bands."""
    return [model for model in settings.models if model in TIGHT_BINDING_MODELS]
