"""Predictors of the models in the settings; weights are read once per process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import mat2spec
from mat2spec.settings import PredictionSettings, is_external
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.array_cache import descriptor_cache

if TYPE_CHECKING:
    from mat2spec.prediction import Predictor, TightBindingPredictor
    from mat2spec.spectrum_predictor import SpectrumPredictor


def load_predictors(settings: PredictionSettings, spectrum: str = EDOS_GRID.name) -> list[Predictor]:
    """Predictors of all models in the settings."""
    return [load_one(model, settings, spectrum) for model in settings.models]


def load_one(model: str, settings: PredictionSettings, spectrum: str) -> Predictor:
    """The predictor of one model, which finds what is known of crystals in the cache of the settings."""
    predictor = _load(model, spectrum, settings.weights_dir, settings.device, settings.max_edges_per_batch)
    if not is_external(model):  # a file of predictions describes nothing
        cast("SpectrumPredictor | TightBindingPredictor", predictor).descriptor_cache = descriptor_cache(settings)
    return predictor


@lru_cache(maxsize=6)
def _load(model: str, spectrum: str, weights_dir: Path | None, device: str, max_edges_per_batch: int) -> Predictor:
    return mat2spec.load_predictor(model, spectrum, weights_dir, device, max_edges_per_batch)
