from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screening.choose.selection import select_for_dft
from screening.evaluate.confusion import Confusion, count, draw_intervals, wilson_interval
from screening.evaluate.evaluation import precision_recall
from screening.settings import SelectionSettings

counts = st.integers(0, 200)


def answers(flags, status="ok"):
    frame = pd.DataFrame({"material_id": list(flags), "status": status, "reason": ""})
    frame["is_gapped_metal"] = pd.array(list(flags.values()), dtype="boolean")
    return frame.assign(has_vb_gap=frame.is_gapped_metal, is_metal=True)


def picks_of(positives="", **shares):
    """Picks with their inclusion probabilities; those named in `positives` are random positives."""
    kinds = [
        "random_positive" if name in positives else "random_negative" if share < 1 else "positive:m"
        for name, share in shares.items()
    ]
    return pd.DataFrame(
        {"material_id": list(shares), "selected_as": kinds, "rank": 1, "inclusion_probability": list(shares.values())}
    )


def negatives(names, number):
    """Rows of a model that says no: named ones, and others up to a number."""
    others = [f"other-{index}" for index in range(number - len(names))]
    return [(name, "m", False, 0.1, 1.0) for name in [*names, *others]]


def row_of(table, estimate="validated_set", target="is_gapped_metal", model="m"):
    rows = table[(table.estimate == estimate) & (table.target == target) & (table.model == model)]
    assert len(rows) == 1
    return rows.iloc[0]


@given(counts, counts)
def test_the_wilson_interval_is_the_formula_of_the_paper(successes, failures):
    trials = successes + failures
    interval = wilson_interval(successes, trials)
    if trials == 0:
        assert (interval.low, interval.high) == (None, None)
        return
    z, p = 1.959963984540054, successes / trials
    centre = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    assert interval.low == pytest.approx(max(centre - half, 0), abs=1e-12)
    assert interval.high == pytest.approx(min(centre + half, 1), abs=1e-12)
    assert 0 <= interval.low <= p <= interval.high <= 1


@given(counts, counts, st.sampled_from([0.5, 0.8, 0.99]))
def test_a_higher_level_gives_a_wider_interval_and_success_mirrors_failure(successes, failures, level):
    trials = successes + failures + 1
    narrow, wide = wilson_interval(successes, trials, level), wilson_interval(successes, trials, 0.999)
    assert wide.low <= narrow.low
    assert narrow.high <= wide.high
    mirrored = wilson_interval(trials - successes, trials, level)
    assert mirrored.low == pytest.approx(1 - narrow.high, abs=1e-9)


@given(counts, counts, counts, counts)
def test_scores_are_ratios_or_unknown(tp, fp, fn, tn):
    scores = Confusion(tp, fp, fn, tn)
    assert (scores.precision is None) == (tp + fp == 0)
    assert (scores.recall is None) == (tp + fn == 0)
    if scores.precision and scores.recall:
        assert scores.f1 == pytest.approx(2 / (1 / scores.precision + 1 / scores.recall))
    if scores.mcc is not None:
        assert -1 - 1e-9 <= scores.mcc <= 1 + 1e-9
        swapped = Confusion(fp, tp, tn, fn)
        assert swapped.mcc == pytest.approx(-scores.mcc)


def test_the_published_screen():
    # 51 predicted by either model and 49 random: Mat2Spec 32 predicted, 15 true; GATGNN 23 predicted, 3 true.
    mat2spec, gatgnn = Confusion(15, 17, 0, 68), Confusion(3, 20, 12, 65)
    assert (round(mat2spec.precision, 2), mat2spec.recall) == (0.47, 1.0)
    assert (round(gatgnn.precision, 2), gatgnn.recall) == (0.13, 0.20)


def test_counts_of_a_small_screen(make_classifications):
    predicted = {"a": True, "b": True, "c": False, "d": False, "e": None}
    frame = make_classifications(*((name, "m", flag, 0.5, 1.0) for name, flag in predicted.items()))
    results = answers({"a": True, "b": False, "c": True, "d": False, "e": True})
    table = precision_recall(frame, results, picks_of(a=1, b=1, c=0.1, d=0.1, e=0.1), gap_rule="rule")
    row = row_of(table)
    assert (row.n, row.tp, row.fp, row.fn, row.tn) == (5, 1, 1, 2, 1)
    assert row.precision == 0.5
    assert row.recall == pytest.approx(1 / 3)
    assert row.n_missing_predictions == 1
    assert (row.reference, row.gap_rule) == ("unknown", "rule")


def test_failed_calculations_do_not_count_as_negatives(make_classifications):
    frame = make_classifications(("a", "m", True, 0.5, 1.0), ("b", "m", False, 0.5, 1.0), ("c", "m", True, 0.5, 1.0))
    results = pd.concat([answers({"a": True}), answers({"b": True}, status="timed_out")])
    row = row_of(precision_recall(frame, results, picks_of(a=1, b=0.5, c=1)))
    assert (row.n, row.n_failed) == (1, 2)
    assert (row.tp, row.fp, row.fn, row.tn) == (1, 0, 0, 0)


def test_undefined_values_are_null(make_classifications):
    frame = make_classifications(("a", "m", False, 0.0, 1.0))
    row = row_of(precision_recall(frame, answers({"a": False}), picks_of(a=0.5)))
    assert row.tn == 1
    undefined = ["precision", "precision_low", "precision_high", "recall", "recall_low", "recall_high", "f1", "mcc"]
    assert row[undefined].isna().all()


def test_without_any_answer_there_is_still_a_row_that_says_so(make_classifications):
    frame = make_classifications(("a", "m", True, 0.9, 1.0))
    table = precision_recall(frame, answers({"a": None}, status="failed"), picks_of(a=1))
    assert row_of(table).n_failed == 1
    assert "population" not in set(table.estimate)


def test_results_without_classes_are_refused_unless_nothing_was_computed(make_classifications):
    frame = make_classifications(("a", "m", True, 0.9, 1.0))
    plain = ["material_id", "status"]
    failed = precision_recall(frame, answers({"a": None}, status="failed")[plain], picks_of(a=1))
    assert row_of(failed).n_failed == 1
    with pytest.raises(ValueError, match="classify their spectra"):
        precision_recall(frame, answers({"a": True})[plain], picks_of(a=1))


def test_random_negatives_stand_for_the_population(make_classifications):
    # 4 negatives drawn of 40, one of them a gapped metal: the mean share of the other 36 is 1.5/5.
    frame = make_classifications(("a", "m", True, 0.9, 1.0), *negatives("bcde", 40))
    results = answers({"a": True, "b": True, "c": False, "d": False, "e": False})
    table = precision_recall(frame, results, picks_of(a=1, b=0.1, c=0.1, d=0.1, e=0.1))
    row = row_of(table, "population")
    assert (row.tp, row.fp, row.fn) == (1, 0, pytest.approx(1 + 36 * 0.3, rel=0.03))
    assert row.fn + row.tn == 40
    assert row.recall == pytest.approx(1 / 12, rel=0.15)
    assert row.recall_low < row.recall < row.recall_high
    assert row.n_population == 41
    assert row.advice.startswith("F1 is unknown: ")
    assert row_of(table).recall == 0.5


def test_none_found_among_random_negatives_still_leaves_recall_uncertain(make_classifications):
    frame = make_classifications(("a", "m", True, 0.9, 1.0), *negatives("b", 1000))
    table = precision_recall(frame, answers({"a": True, "b": False}), picks_of(a=1, b=0.001))
    row = row_of(table, "population")
    assert np.isnan(row.recall)
    assert row.recall_high > 0.6
    assert row.recall_low < 0.01
    assert re.fullmatch(
        r"Recall is unknown: 0\.00-\d\.\d\d; compute some [\d,]+ more random negatives to halve .*", row.advice
    )


def test_a_failed_negative_is_stood_for_by_the_others(make_classifications):
    frame = make_classifications(("a", "m", True, 0.9, 1.0), *negatives("bc", 20))
    results = pd.concat([answers({"a": True, "b": True}), answers({"c": None}, status="failed")])
    row = row_of(precision_recall(frame, results, picks_of(a=1, b=0.1, c=0.1)), "population")
    assert row.fn == pytest.approx(1 + 19 * 0.75, rel=0.03)


def test_positives_that_were_not_computed_are_counted(make_classifications):
    frame = make_classifications(*((name, "m", True, 0.9, 1.0) for name in "abc"))
    row = row_of(precision_recall(frame, answers({"a": True}), picks_of(a=1)))
    assert row.n_not_represented == 2


def test_random_positives_stand_for_the_positives_that_were_not_chosen(make_classifications):
    # a is the best of 11 positives; 2 of the other 10 are drawn, one of them right; 2 of 20 negatives, none right.
    frame = make_classifications(*((name, "m", True, 0.5, 1.0) for name in "abcdefghijk"), *negatives("xy", 20))
    picks = picks_of(positives="bc", a=1, b=0.2, c=0.2, x=0.1, y=0.1)
    table = precision_recall(frame, answers(dict.fromkeys("ab", True) | dict.fromkeys("cxy", False)), picks)
    row = row_of(table, "population")
    # The mean share of the other eight is one half, that of the other 18 negatives 0.5/3.
    assert row[["tp", "fp"]].tolist() == pytest.approx([2 + 8 / 2, 1 + 8 / 2], rel=0.03)
    assert row.fn == pytest.approx(18 / 6, rel=0.1)
    assert np.isnan(row.precision)
    assert row.precision_low < 0.3
    assert "more random positives" in row.advice
    assert (row.n_not_represented, row_of(table)[["tp", "fp"]].tolist()) == (0, [2, 1])
    # One of the two failed: the other stands for all ten; both failed: what was not chosen is unknown, not false.
    one = row_of(precision_recall(frame, answers({"a": True, "b": True, "x": False, "y": False}), picks), "population")
    assert one.tp == pytest.approx(2 + 9 * 0.75, rel=0.03)
    none = row_of(precision_recall(frame, answers({"a": True, "x": False, "y": False}), picks), "population")
    assert (none.tp, none.n_not_represented) == (pytest.approx(1 + 10 / 2, rel=0.05), 8)
    assert none.precision_high - none.precision_low > 0.85


def test_the_recall_of_a_model_whose_positives_are_all_known_and_false_is_zero(make_classifications):
    frame = make_classifications(("a", "m", True, 0.9, 1.0), *((name, "m", False, 0.1, 1.0) for name in "bc"))
    table = precision_recall(frame, answers({"a": False, "b": True, "c": False}), picks_of(a=1, b=0.5, c=0.5))
    row = row_of(table, "population")
    assert (row.recall, row.recall_high) == (0.0, 0.0)
    assert row.fn == 1


@settings(max_examples=30)
@given(st.integers(0, 2**20 - 1))
def test_the_population_estimate_is_exact_when_every_negative_is_computed(make_classifications, seed):
    flags = [(seed >> index & 1, seed >> (index + 10) & 1) for index in range(10)]
    frame = make_classifications(*((f"m{i}", "m", bool(predicted), 0.5, 1.0) for i, (predicted, _) in enumerate(flags)))
    truth = {f"m{i}": bool(true) for i, (_, true) in enumerate(flags)}
    materials = pd.DataFrame({"material_id": list(truth), "nsites": 1})
    chosen = select_for_dft(frame, materials, SelectionSettings(max_positives=10, n_random_negatives=10))
    table = precision_recall(frame, answers(truth), chosen.picks)
    if chosen.n_negatives:
        names = ["tp", "fp", "fn", "tn"]
        assert row_of(table)[names].tolist() == pytest.approx(row_of(table, "population")[names].tolist())


def test_the_factor_over_random_picking(make_classifications):
    # Of 44 materials 4 are picked, 2 of them right; one of 4 random negatives of 40 is a gapped metal.
    frame = make_classifications(*((name, "m", True, 0.9, 1.0) for name in "abcd"), *negatives("efgh", 40))
    truth = dict.fromkeys("abe", True) | dict.fromkeys("cdfgh", False)
    table = precision_recall(frame, answers(truth), picks_of(**dict.fromkeys("abcd", 1), **dict.fromkeys("efgh", 0.1)))
    row = row_of(table, "population")
    assert row.precision == 0.5
    assert 3 / 44 < row.prevalence < 20 / 44
    assert row.f1_low < row.f1 < row.f1_high
    # The gain may be 1.0 or 5: no point.
    assert pd.isna(row.enrichment)
    assert pd.isna(row.mcc)
    assert row.enrichment_low < 0.5 / (12 / 44) < row.enrichment_high
    assert row_of(table)[["prevalence", "enrichment"]].isna().all()


def test_the_published_screen_found_one_in_two_and_spared_253_times_the_work():
    # Recall 1: the factor over random picking is the number of candidates over that of picks.
    assert Confusion(15, 17, 0, 8106 - 32).enrichment == pytest.approx(8106 / 32)


def test_levels_of_theory_are_compared_apart(make_classifications):
    frame = make_classifications(*((name, "m", True, 0.9, 1.0) for name in "abc"))
    results = answers({"a": True, "b": False, "c": True}).assign(engine=["gpaw", "elk", "gpaw"], functional="PBE")
    results = results.assign(spin=["unpolarised", "unpolarised", "polarised"], u_values=["{}", '{"V": 3.25}', "{}"])
    table = precision_recall(frame, results, picks_of(a=1, b=1, c=1))
    rows = table[table.target == "is_gapped_metal"]
    assert rows[["spin", "reference", "u_values", "n"]].to_numpy().tolist() == [
        ["polarised", "gpaw", "{}", 1],
        ["unpolarised", "gpaw", "{}", 1],
        ["unpolarised", "elk", '{"V": 3.25}', 1],
    ]
    named = precision_recall(frame, results[:1], picks_of(a=1), reference="materials-project")
    assert set(named.reference) == {"materials-project"}


def test_intervals_of_draws_hold_their_score_and_shrink_with_counts():
    few, many = (np.repeat([True, True, False, False], n) for n in (2, 200))
    truths = [np.repeat([True, False, True, False], n) for n in (2, 200)]
    narrow = draw_intervals(many, truths[1], np.ones(800))
    wide = draw_intervals(few, truths[0], np.ones(8))
    for name in ("precision", "recall", "f1", "mcc"):
        score = getattr(count(few, truths[0]), name)
        assert wide[name].low <= score <= wide[name].high
        assert narrow[name].high - narrow[name].low < 0.3 * (wide[name].high - wide[name].low)
    assert draw_intervals(few, truths[0], np.ones(8)) == wide


def test_draws_of_a_share_agree_with_the_wilson_interval():
    predicted, truth = np.ones(60, dtype=bool), np.arange(60) < 20
    drawn, wilson = draw_intervals(predicted, truth, np.ones(60))["precision"], wilson_interval(20, 60)
    assert (drawn.low, drawn.high) == pytest.approx((wilson.low, wilson.high), abs=0.02)


def test_nothing_found_among_a_few_does_not_mean_that_there_is_none():
    predicted = np.array([True] * 2 + [False] * 8)
    weights = np.array([1.0] * 2 + [100.0] * 8)
    intervals = draw_intervals(predicted, predicted.copy(), weights)
    assert intervals["recall"].high == 1.0
    assert intervals["recall"].low < 0.05
    assert intervals["enrichment"].low < 10 < intervals["enrichment"].high
