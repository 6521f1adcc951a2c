"""A model whose spectra are given by the test, in place of those that are trained."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from flows import stages
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.prediction import Prediction


def flat_spectrum(gapped, top=-0.6, bottom=-2.5):
    """A flat DOS, with a gap in the valence band or not."""
    inside = (EDOS_GRID.centers > bottom) & (EDOS_GRID.centers < top)
    return np.where(inside & gapped, 0.0, 5.0)


def use_fake_models(monkeypatch, spectrum_of, names=("fake",)):
    """Predict by `spectrum_of(material_id, name)`; return the list of materials predicted so far."""
    predicted = []

    def predict_with_models(predictors, crystals, on_batch=None):
        ids = getattr(crystals, "crystals", crystals).material_ids.tolist()  # prepared or not
        predicted.extend(ids)
        return [_prediction(ids, predictor.name, spectrum_of, on_batch) for predictor in predictors]

    predictors = [SimpleNamespace(name=name, weights_hash="1", grid=EDOS_GRID) for name in names]
    monkeypatch.setattr(stages, "load_predictors", lambda *_: predictors)
    monkeypatch.setattr("mat2spec.prediction.predict_with_models", predict_with_models)
    return predicted


def _prediction(ids, name, spectrum_of, on_batch):
    n = len(ids)
    spectra = np.array([spectrum_of(material_id, name) for material_id in ids], dtype=np.float32).reshape(n, -1)
    if on_batch:
        on_batch(n)
    return Prediction(
        material_ids=np.array(ids, dtype=object),
        spectra=spectra,
        scale=spectra.sum(axis=1),
        uncertainty=np.zeros_like(spectra),
        relative_error=np.zeros(n, dtype=np.float32),
        domain_distance=np.zeros(n, dtype=np.float32),
        status=["ok"] * n,
        reason=[""] * n,
        model=name,
        weights_hash="1",
        grid=EDOS_GRID,
        prior_metal_probability=np.full(n, np.nan, dtype=np.float32),
    )
