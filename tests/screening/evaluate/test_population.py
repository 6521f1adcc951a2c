from __future__ import annotations

import pandas as pd
import pytest

from screening.evaluate.population import Strata, estimate_population, population_flags, stratum_weights
from screening.settings import EvaluationSettings

SETTINGS = EvaluationSettings(n_draws=4000)


def strata_of(flags, answers):
    """Strata of two models from strings of their flags ("10") and computed materials (row, kind, truth)."""
    names = [f"m{index}" for index in range(len(flags))]
    frame = pd.DataFrame([[flag == "1" for flag in text] for text in flags], index=names, columns=["a", "b"])
    rows = [(names[row], kind, truth) for row, kind, truth in answers]
    return Strata.of(frame, pd.DataFrame(rows, columns=["material_id", "selected_as", "truth"]))


def test_strata_are_the_patterns_of_the_flags_of_all_models():
    strata = strata_of(
        ["10", "11", "00", "00", "00"],
        [(0, "positive:a", True), (2, "random_negative", False), (3, "random_negative", True)],
    )
    assert strata.flags.tolist() == [[False, False], [True, False], [True, True]]
    assert strata.size.tolist() == [3, 1, 1]
    assert (strata.n_certain.tolist(), strata.true_certain.tolist()) == ([0, 1, 0], [0, 1, 0])
    assert (strata.n_sampled.tolist(), strata.true_sampled.tolist()) == ([2, 0, 0], [1, 0, 0])


def test_what_is_computed_completely_is_certain():
    kinds = ["positive:a", "random_positive", "random_negative", "random_negative"]
    strata = strata_of(["10", "10", "00", "00"], [(i, kind, i in {0, 2}) for i, kind in enumerate(kinds)])
    found = estimate_population(strata, "a", SETTINGS)
    assert found.cells == (1, 1, 1, 1)
    assert (found.scores["precision"], found.scores["recall"], found.scores["f1"]) == (0.5, 0.5, 0.5)
    assert found.intervals["f1"].low == found.intervals["f1"].high == 0.5
    assert found.advice == ""


def test_an_empty_stratum_is_unknown():
    strata = strata_of(["10"] * 50 + ["00"] * 50, [(50 + i, "random_negative", False) for i in range(50)])
    found = estimate_population(strata, "a", SETTINGS)
    assert found.intervals["precision"].low < 0.03
    assert found.intervals["precision"].high > 0.97
    assert found.scores["precision"] is None
    assert found.advice.startswith("Precision is unknown: 0.0")
    assert found.advice.endswith("more random positives to halve the interval.")


def test_the_interval_of_one_stratum_is_about_that_of_clopper_and_pearson():
    # Four of twelve: 0.099 to 0.651; the mixture of both ends is a little narrower.
    strata = strata_of(
        ["10"] * 100000 + ["00"] * 2,
        [(i, "random_positive", i < 4) for i in range(12)] + [(100000, "random_negative", False)],
    )
    interval = estimate_population(strata, "a", SETTINGS).intervals["precision"]
    assert interval.low == pytest.approx(0.11, abs=0.02)
    assert interval.high == pytest.approx(0.64, abs=0.02)


def test_a_failed_prediction_counts_as_negative_and_the_pool_bounds_the_population():
    classes = pd.DataFrame(
        {
            "material_id": ["x", "x", "y", "y", "z", "z"],
            "model": ["a", "b"] * 3,
            "is_gapped_metal": pd.array([True, None, None, None, False, True], dtype="boolean"),
        }
    )
    flags = population_flags(classes, "is_gapped_metal", None)
    assert flags.index.tolist() == ["x", "z"]
    assert flags.to_numpy().astype(bool).tolist() == [[True, False], [False, True]]
    assert population_flags(classes, "is_gapped_metal", ["z"]).index.tolist() == ["z"]
    assert set(flags.dtypes) == {pd.BooleanDtype()}


def test_a_model_whose_predictions_all_failed_says_no_of_everything():
    classes = pd.DataFrame(
        {
            "material_id": ["x", "x", "y", "y"],
            "model": ["a", "b"] * 2,
            "is_gapped_metal": pd.array([True, None, False, None], dtype="boolean"),
        }
    )
    flags = population_flags(classes, "is_gapped_metal", None)
    assert flags.to_numpy().tolist() == [[True, False], [False, False]]
    answers = pd.DataFrame({"material_id": ["x", "y"], "selected_as": ["positive:a", "random_negative"]})
    strata = Strata.of(flags, answers.assign(truth=[True, False]))
    assert estimate_population(strata, "b", SETTINGS).cells == (0, 0, 1, 1)


def test_every_answer_stands_for_its_share_of_its_stratum():
    names = [f"m{index}" for index in range(20)]
    flags = pd.DataFrame({"a": [True] * 6 + [False] * 14, "b": [False] * 4 + [True] * 4 + [False] * 12}, index=names)
    answers = pd.DataFrame(
        [
            ("m0", "positive:consensus"),
            ("m1", "random_positive"),
            ("m6", "random_positive"),
            ("m10", "random_negative"),
            ("m11", "random_negative"),
            ("gone", "random_negative"),
        ],
        columns=["material_id", "selected_as"],
    )
    weights = stratum_weights(flags, answers)
    # Only a: four, one of them ranked; a and b: two, none computed, shared by the other positives; only b: two.
    assert weights.tolist() == pytest.approx([1, 3 * 7 / 5, 2 * 7 / 5, 6, 6, 0])
    assert weights.sum() == pytest.approx(20)
