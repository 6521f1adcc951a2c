from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from mat2spec.models.metal_head import shipped_metal_head
from mat2spec.prediction import BEST_MODELS, load_predictor
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tight_binding.metal_head import shipped_site_metal_head
from screening.classify.classes import ElectronicClass, classify
from screening.classify.gaps import classify_spectra
from screening.classify.metals import (
    CALIBRATION_FILE,
    DecidedBy,
    MetalEvidence,
    metal_features,
    voices_of_models,
)
from scripts.textbook_crystals import classes_by, known_crystals
from tests.screening.classify.test_classes import insulator, materials

FULL = np.full(128, 3.0)
METALS = {ElectronicClass.METAL, ElectronicClass.SEMIMETAL}
NON_METALS = {ElectronicClass.INSULATOR, ElectronicClass.SEMICONDUCTOR, ElectronicClass.NON_METAL}


def evidence(prior, gap=np.nan, model="tight-binding", n=1):
    return MetalEvidence(np.full(n, model, dtype=object), np.full(n, prior), np.full(n, gap))


def test_rows_of_predictions_are_judged_as_the_model_that_spoke_and_those_of_older_runs_by_their_spectrum():
    rows = pd.DataFrame(
        {
            "model": "one",
            "predicted_by": ["other", None],
            "prior_metal_probability": np.array([0.9, np.nan], np.float32),
        }
    )
    found = MetalEvidence.of_rows(rows, np.array([0.0, np.nan]))
    assert found.models.tolist() == ["other", "one"]
    assert found.prior.tolist() == pytest.approx([0.9, np.nan], nan_ok=True)
    older = MetalEvidence.of_rows(rows[["model"]], found.band_gaps_ev)
    assert older.models.tolist() == ["one", "one"]
    assert np.isnan(older.prior).all()


def test_without_evidence_the_spectrum_decides():
    row = classify_spectra(FULL[None]).iloc[0]
    assert row.is_metal
    assert row.metal_by == DecidedBy.SPECTRUM
    older = classify_spectra(FULL[None], evidence=evidence(np.nan)).iloc[0]
    assert older.metal_confidence == row.metal_confidence
    assert older.metal_by == DecidedBy.SPECTRUM


@pytest.mark.parametrize("spectrum", [FULL, insulator(2.0)])
def test_a_known_band_gap_overrides_spectrum_and_head(spectrum):
    for gap, prior in ((0.0, 0.01), (1.3, 0.99)):
        row = classify(spectrum[None], materials(), evidence=evidence(prior, gap)).iloc[0]
        assert row.is_metal == (gap == 0.0)
        assert row.metal_confidence == (gap == 0.0)
        assert row.metal_by == DecidedBy.BAND_GAP


def test_the_known_gap_tells_an_insulator_from_a_semiconductor():
    rows = [classify(FULL[None], materials(), evidence=evidence(0.5, gap)).iloc[0] for gap in (1.0, 4.0)]
    assert [row.electronic_class for row in rows] == ["semiconductor", "insulator"]


def test_head_and_spectrum_both_have_a_voice():
    spectra = np.stack([FULL, insulator(1.0), insulator(3.9)])
    for model in voices_of_models():
        sure = classify_spectra(spectra, evidence=evidence(0.999, model=model, n=3)).metal_confidence
        doubtful = classify_spectra(spectra, evidence=evidence(0.1, model=model, n=3)).metal_confidence
        assert (sure > doubtful + 0.2).all()
        assert sure.is_monotonic_decreasing


def test_where_they_disagree_the_class_is_unsure():
    row = classify(insulator(3.9)[None], materials(), evidence=evidence(0.85)).iloc[0]
    assert row.electronic_class == ElectronicClass.UNSURE
    overruled = classify(FULL[None], materials(), evidence=evidence(0.001)).iloc[0]
    assert overruled.electronic_class == ElectronicClass.NON_METAL
    assert np.isnan(overruled.dos_gap_ev)
    assert not overruled.is_gapped_metal


def test_an_unknown_model_is_judged_too():
    row = classify_spectra(FULL[None], evidence=evidence(0.95, model="mine")).iloc[0]
    assert 0.9 < row.metal_confidence < 1


def test_features_are_finite_whatever_the_evidence():
    features = metal_features(np.array([0.0, 1.0]), np.array([0.0, np.inf]), np.array([0.0, 99.0]))
    assert np.isfinite(features).all()


def test_the_calibration_belongs_to_the_weights_that_ship():
    content = json.loads(files("screening.classify").joinpath(CALIBRATION_FILE).read_text())
    assert content["metal_head"] == shipped_metal_head().weights_hash
    assert content["site_metal_head"] == shipped_site_metal_head().weights_hash
    calibrated = {model: entry["weights"] for model, entry in content["models"].items()}
    assert calibrated == {model: load_predictor(model, device="cpu").weights_hash for model in calibrated}


@pytest.mark.parametrize("model", [BEST_MODELS[EDOS_GRID.name], "mat2spec"])
def test_the_class_of_a_known_crystal_is_right_or_unsure(model):
    found = classes_by(model).electronic_class
    wrong = {
        name: found[name] for name, (_, right) in known_crystals().items() if found[name] not in {*right, "unsure"}
    }
    assert not wrong
    assert (found != "unsure").sum() >= 5
