from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from mat2spec.prediction import load_predictor
from screening.classify.gapped_metals import CALIBRATION_FILE, best_cut, gapped_metal_probability, skill_of
from screening.classify.gaps import classify_spectra
from screening.settings import GapSettings
from tests.screening.classify.test_gaps import with_run
from tests.screening.classify.test_metals import evidence

CONTENT = json.loads(files("screening.classify").joinpath(CALIBRATION_FILE).read_text())
SMEARED = with_run(30, 55)
SMEARED[0, 30:56] = 0.8


@pytest.mark.parametrize("model", [*CONTENT["models"], "mine"])
def test_a_higher_score_is_never_less_probable(model):
    scores = np.linspace(0, 1, 101)
    probability = gapped_metal_probability(scores, np.full(101, model, dtype=object))
    assert (np.diff(probability) >= 0).all()
    assert ((probability > 0) & (probability < 1)).all()


def test_a_model_that_was_not_calibrated_is_judged_as_all_together():
    assert skill_of("mine").platt._asdict() == pytest.approx(CONTENT["pooled"]["platt"])


def test_the_calibration_belongs_to_the_weights_that_ship():
    calibrated = {model: entry["weights"] for model, entry in CONTENT["models"].items()}
    assert calibrated == {model: load_predictor(model, device="cpu").weights_hash for model in calibrated}


def test_probabilities_beat_the_share_where_a_model_knows_something():
    better = [
        name for name, entry in CONTENT["models"].items() if entry["brier_score"] < entry["brier_score_of_the_share"]
    ]
    assert {"tight-binding", "tight-binding-mp", "sitedos"} <= set(better)


def test_the_mean_probability_on_the_labels_is_about_the_share_of_gapped_metals():
    for entry in CONTENT["models"].values():
        expected = sum(mean * n for mean, _, n in entry["reliability"])
        assert expected == pytest.approx(entry["positives"], abs=0.35 * entry["positives"])


def test_a_predicted_gap_need_not_be_quite_empty():
    predicted = classify_spectra(SMEARED, evidence=evidence(0.999)).iloc[0]
    assert not predicted.has_vb_gap
    assert predicted.is_gapped_metal
    assert predicted.gapped_metal_confidence >= best_cut()
    assert predicted.gap_floor_states_per_ev == 0.8
    assert predicted.gap_width_ev == pytest.approx(26 * 8 / 127)
    computed = classify_spectra(SMEARED).iloc[0]
    assert not computed.is_gapped_metal
    assert np.isnan(computed.gap_width_ev)


def test_the_cut_is_a_setting():
    strict = GapSettings(min_probability=0.99)
    assert not classify_spectra(SMEARED, settings=strict, evidence=evidence(0.999)).is_gapped_metal[0]
    assert classify_spectra(with_run(30, 55), settings=strict).is_gapped_metal[0]


def test_a_known_insulator_is_never_one():
    row = classify_spectra(with_run(30, 55), evidence=evidence(0.999, gap=2.0)).iloc[0]
    assert row.gapped_metal_confidence == 0
    assert not row.is_gapped_metal
