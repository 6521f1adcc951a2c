from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from screening.classify.gaps import classify_spectra
from screening.classify.metals import MetalEvidence
from screening.evaluate.evaluation import precision_recall
from screening.evaluate.threshold_curves import moved_rules, threshold_curve
from screening.settings import EvaluationSettings, GapSettings

SETTINGS = EvaluationSettings(
    curve_threshold_factors=(0.5, 1.0, 2.0), curve_top_min_ev=(-1.5, -1.0), curve_min_width_ev=(1.0,), n_draws=200
)


@pytest.fixture
def validated(make_spectrum):
    """Two picks and two random negatives of twenty; the floor of a gap decides at which threshold it is one."""
    floors = {"a": (0.1, 0.1), "b": (0.5, 0.9), "c": (1.0, 0.1), "d": (3.0, 3.0)}
    predictions = pd.DataFrame(
        [{"material_id": n, "model": "m", "edos": make_spectrum(floor=f)} for n, (f, _) in floors.items()]
    )
    results = pd.DataFrame(
        [{"material_id": n, "status": "ok", "edos": make_spectrum(floor=f)} for n, (_, f) in floors.items()]
    ).assign(engine="gpaw", functional="PBE", spin="unpolarised", u_values="{}")
    picks = pd.DataFrame(
        {
            "material_id": list(floors),
            "selected_as": ["positive:m", "positive:m", "random_negative", "random_negative"],
            "rank": [1, 2, 1, 2],
            "inclusion_probability": [1.0, 1.0, 0.1, 0.1],
        }
    )
    return predictions, results, picks, pd.DataFrame({"material_id": list(floors), "nsites": 1})


def rows_at(curve, threshold, moved="prediction", estimate="validated_set", top_min=-1.0):
    rows = curve[
        (curve.moved == moved)
        & (curve.estimate == estimate)
        & np.isclose(curve.dos_threshold_states_per_ev, threshold)
        & np.isclose(curve.top_min_ev, top_min)
    ]
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_higher_threshold_for_predictions_finds_more(validated):
    curve = threshold_curve(*validated, GapSettings(), SETTINGS)
    cells = ["tp", "fp", "fn", "tn"]
    # By DFT a and c are gapped metals; the models say a at 0.35, a and b at 0.7, a, b and c at 1.4.
    assert rows_at(curve, 0.35)[cells].tolist() == [1, 0, 1, 2]
    assert rows_at(curve, 0.7)[cells].tolist() == [1, 1, 1, 1]
    assert rows_at(curve, 1.4)[cells].tolist() == [2, 1, 0, 1]
    assert rows_at(curve, 1.4).recall == 1.0


def test_moving_the_rule_for_both_moves_the_truth(validated):
    curve = threshold_curve(*validated, GapSettings(), SETTINGS)
    assert rows_at(curve, 1.4, "both")[["tp", "fp", "fn", "tn"]].tolist() == [3, 0, 0, 1]


def test_random_negatives_keep_their_weight_when_they_turn_positive(validated):
    row = rows_at(threshold_curve(*validated, GapSettings(), SETTINGS), 1.4, estimate="population")
    # Two of twenty were drawn: c, now predicted and true, stands for ten.
    assert row[["tp", "fp", "fn", "tn"]].tolist() == pytest.approx([11, 1, 0, 10])
    assert row.precision_low <= row.precision <= row.precision_high
    assert row.enrichment == pytest.approx((11 / 12) / (11 / 22))


def test_the_population_is_weighted_by_the_strata_of_its_estimate(validated):
    predictions, results, picks, candidates = validated
    flags = pd.DataFrame({"m": [True, True, *[False] * 18]}, index=[*"abcd", *map(str, range(16))])
    row = rows_at(
        threshold_curve(predictions, results, picks, candidates, GapSettings(), SETTINGS, flags=flags),
        1.4,
        estimate="population",
    )
    assert row[["tp", "fp", "fn", "tn"]].tolist() == pytest.approx([10, 1, 0, 9])


def test_spectra_of_a_model_are_judged_with_what_the_metal_head_says(validated):
    predictions, results, picks, candidates = validated
    doubted = predictions.assign(prior_metal_probability=[1e-6, 0.99, 0.99, 0.99])
    rows = threshold_curve(doubted, results, picks, candidates.assign(band_gap=np.nan), GapSettings(), SETTINGS)
    known = classify_spectra(
        np.stack(predictions.edos.tolist()),
        evidence=MetalEvidence(
            np.full(4, "m", dtype=object), doubted.prior_metal_probability.to_numpy(), np.full(4, np.nan)
        ),
    ).is_gapped_metal
    row = rows_at(rows, 0.7)
    assert row.tp + row.fp == known.sum()
    assert not known[0]


def test_at_the_runs_own_rule_the_curve_is_the_table_of_precision_and_recall(validated):
    predictions, results, picks, _ = validated
    classes = classify_spectra(np.stack(predictions.edos.tolist()))
    classes = pd.concat([predictions[["material_id", "model"]], classes], axis=1)
    truth = pd.concat([results, classify_spectra(np.stack(results.edos.tolist()))], axis=1)
    table = precision_recall(classes, truth, picks)
    curve = threshold_curve(*validated, GapSettings(), SETTINGS)
    for estimate in ("validated_set", "population"):
        row = table[(table.target == "is_gapped_metal") & (table.estimate == estimate)].iloc[0]
        moved = rows_at(curve, 0.7, estimate=estimate)
        # Of the population the table has the posterior, the curve the weighted counts.
        counts = ("tp", "fp", "fn", "tn", "precision", "recall", "f1") if estimate == "validated_set" else ()
        for name in ("n", *counts, "reference", "functional", "spin"):
            assert moved[name] == row[name]


def test_a_failed_prediction_or_calculation_does_not_stop_the_curve(validated):
    predictions, results, picks, candidates = validated
    predictions.loc[0, "edos"] = None
    results.loc[1, ["status", "edos"]] = ["crashed", None]
    row = rows_at(threshold_curve(predictions, results, picks, candidates, GapSettings(), SETTINGS), 0.7)
    assert (row.n, row.tp, row.fn) == (3, 0, 2)


def test_without_any_result_the_curve_counts_nothing(validated):
    predictions, results, picks, candidates = validated
    curve = threshold_curve(predictions, results[:0], picks, candidates, GapSettings(), SETTINGS)
    assert set(curve.n) == {0}
    assert curve.precision.isna().all()


def test_the_runs_own_rule_is_always_on_the_curve_and_windows_never_cross():
    rules = moved_rules(GapSettings(min_width_ev=0.8, top_min_ev=-0.9, top_max_ev=-0.75), EvaluationSettings())
    assert any((r.dos_threshold_states_per_ev, r.min_width_ev, r.top_min_ev) == (0.7, 0.8, -0.9) for r in rules)
    assert all(rule.top_min_ev <= rule.top_max_ev for rule in rules)
