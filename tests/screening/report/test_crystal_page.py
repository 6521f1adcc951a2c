"""The page of a user's own crystals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mat2spec.crystals.arrays import Crystals
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.prediction import Prediction
from screening.report.crystal_page import crystals_content, describe_verdict
from screening.report.result_page import page_data, result_page
from screening.settings import ClassifySettings, GapSettings

IDS = ["b.cif", "a.cif", "bad.cif"]


def predicted(model, spectra):
    matrix = np.array(spectra, dtype=np.float32)
    n = len(matrix)
    status = ["ok" if np.isfinite(row).all() else "failed" for row in matrix]
    return Prediction(
        material_ids=np.array(IDS, dtype=object),
        spectra=matrix,
        scale=EDOS_GRID.integrate(matrix).astype(np.float32),
        uncertainty=np.full_like(matrix, 0.2),
        relative_error=np.full(n, 0.3, np.float32),
        domain_distance=np.full(n, 0.4, np.float32),
        status=status,
        reason=["" if one == "ok" else "Atoms overlap." for one in status],
        model=model,
        weights_hash="0",
        grid=EDOS_GRID,
    )


@pytest.fixture
def content(make_spectrum):
    gapped, plain = make_spectrum(), make_spectrum(floor=3.0)
    nothing = np.full(EDOS_GRID.size, np.nan)
    crystals = Crystals.from_lists(
        IDS, [[11, 17]] * 3, [np.array([[0, 0, 0], [0.5, 0.5, 0.5]])] * 3, [np.eye(3) * 4] * 3
    )
    made = [predicted("best", [gapped, plain, nothing]), predicted("other", [gapped, gapped, nothing])]
    return crystals_content(crystals, made, GapSettings(), ClassifySettings(), "Predicted by best.")


def test_each_crystal_has_the_verdict_and_the_properties_of_the_leading_model(content):
    picks = content.picks.set_index("material_id")
    assert list(picks.index) == ["b.cif", "a.cif"], "in the order given, without those that nothing is known of"
    assert picks.verdict["b.cif"] == "gapped metal"
    assert picks.verdict["a.cif"] == "metal, not a gapped metal"
    assert not picks.is_gapped_metal["a.cif"], "the leading model says so, though another is more confident"
    assert "dft_verdict" not in picks


def test_the_page_has_spectra_and_structures_and_nothing_of_a_run(content):
    page = result_page(content)
    data = page_data(content)
    assert set(data["spectra"]["a.cif"]) == {"best", "other"}
    assert data["structures"]["b.cif"].count("Na") > 0
    assert data["of_files"]
    json.dumps(data, allow_nan=False)
    assert "<title>Predicted spectra</title>" in page
    assert "<h2>Precision and recall</h2>" not in page


def row(model="best", confidence=1.0, distance=0.5, **more):
    return {
        "model": model,
        "is_metal": True,
        "is_gapped_metal": True,
        "electronic_class": "metal",
        "gapped_metal_confidence": confidence,
        "domain_distance": distance,
    } | more


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([row()], "gapped metal"),
        ([row(is_gapped_metal=False, confidence=0.0)], "metal, not a gapped metal"),
        ([row(confidence=0.5)], "gapped metal"),
        ([row(confidence=0.49)], "unsure: perhaps gapped metal; the confidence of best is 0.49"),
        ([row(confidence=0.3)], "unsure: perhaps gapped metal; the confidence of best is 0.30"),
        ([row(is_gapped_metal=False, confidence=0.29)], "metal, not a gapped metal"),
        ([row(distance=1.5)], "unsure: perhaps gapped metal; the crystal is unlike those that it was trained on"),
        ([row(), row("b", is_gapped_metal=False)], "unsure: perhaps gapped metal; b does not agree"),
        ([row(is_metal=None), row("b")], "unsure: perhaps gapped metal; best could not predict it"),
        ([row(is_metal=None)], "unsure: no model could predict it"),
        ([row(electronic_class="unsure")], "unsure: perhaps gapped metal; whether it is a metal is open"),
        (
            [row(electronic_class="unsure", is_gapped_metal=False, confidence=0.0)],
            "unsure: perhaps not a gapped metal; whether it is a metal is open",
        ),
    ],
)
def test_a_verdict_is_open_where_there_is_a_doubt(rows, verdict):
    assert describe_verdict(rows, "best", cut=0.3) == verdict


def test_a_prediction_gives_its_classes(make_spectrum):
    prediction = predicted("best", [make_spectrum()] * 3)
    crystals = Crystals.from_lists(IDS, [[11, 17]] * 3, [np.zeros((2, 3))] * 3, [np.eye(3) * 4] * 3)
    classes = replace(prediction, crystals=crystals).classes()
    assert classes.material_id.tolist() == IDS
    assert classes.is_gapped_metal.all()
    with pytest.raises(ValueError, match="does not hold"):
        prediction.classes()


def test_classes_of_a_prediction_hear_the_metal_head(make_spectrum):
    crystals = Crystals.from_lists(IDS, [[11, 17]] * 3, [np.zeros((2, 3))] * 3, [np.eye(3) * 4] * 3)
    prediction = replace(predicted("best", [make_spectrum()] * 3), crystals=crystals)
    prior = np.array([0.01, 0.99, np.nan], dtype=np.float32)
    classes = replace(prediction, prior_metal_probability=prior).classes()
    insulator, metal, unheard = classes.metal_confidence
    assert insulator < 0.5 < metal
    assert unheard == prediction.classes().metal_confidence[2]
    assert classes.metal_by.tolist() == ["spectrum and metal head"] * 2 + ["spectrum"]
