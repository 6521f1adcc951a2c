import numpy as np
import pytest

from mat2spec.benchmark.detection import GappedMetals
from mat2spec.benchmark.resampling import Contributions, draw_formulas
from mat2spec.spectra.metrics import mean_absolute_error, mean_squared_error, r2_score

FORMULAS = np.array([f"A{i // 2}B" for i in range(60)], dtype=object)


@pytest.fixture
def curves():
    generator = np.random.default_rng(0)
    true = 3 + generator.random((60, 16))
    return true, true + 0.1 * generator.standard_normal((60, 16))


@pytest.fixture
def contributions(curves):
    generator = np.random.default_rng(1)
    truth = generator.random(60) < 0.4
    confidence = np.clip(truth + 0.5 * generator.standard_normal(60), 0, 1)
    found = GappedMetals(confidence > 0.5, confidence), GappedMetals(truth, truth.astype(float))
    return Contributions({"blind": curves}, {"wasserstein_ev": generator.random(60)}, found)


def test_scores_are_those_of_the_metrics(curves, contributions):
    scores = contributions.scores()
    assert scores["r2_blind"] == pytest.approx(r2_score(*curves))
    assert scores["mae_blind"] == pytest.approx(mean_absolute_error(*curves))
    assert scores["mse_blind"] == pytest.approx(mean_squared_error(*curves))
    assert scores["wasserstein_ev"] == pytest.approx(contributions.means["wasserstein_ev"].mean())


def test_a_drawn_score_is_that_of_the_drawn_materials(curves, contributions):
    weights = draw_formulas(FORMULAS)[:3]
    drawn = contributions.drawn(weights)
    for draw, counts in enumerate(weights.astype(int)):
        true, predicted = (np.repeat(values, counts, axis=0) for values in curves)
        assert drawn["r2_blind"][draw] == pytest.approx(r2_score(true, predicted))
        assert drawn["mae_blind"][draw] == pytest.approx(mean_absolute_error(true, predicted))


def test_formulas_are_drawn_not_materials():
    weights = draw_formulas(FORMULAS)
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    assert (weights.sum(axis=1) == 60).all()
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_array_equal(draw_formulas(FORMULAS[order]), weights[:, order])


def test_intervals_hold_the_score_and_are_the_same_every_time(contributions):
    intervals, scores = contributions.intervals(FORMULAS), contributions.scores()
    assert intervals.keys() == scores.keys()
    assert all(low <= scores[name] <= high for name, (low, high) in intervals.items())
    assert intervals == contributions.intervals(FORMULAS)


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(0).standard_normal(400)
    flat = np.ones((400, 2)) + values[:, None]
    formulas = np.array([f"A{i}" for i in range(400)], dtype=object)
    low, high = Contributions({"x": (flat, flat)}, {"mean": values}).intervals(formulas)["mean"]
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)


def test_what_is_rarely_defined_or_stands_on_few_formulas_has_no_interval(curves):
    nobody = np.zeros(60, dtype=bool)
    one = nobody.copy()
    one[0] = True
    none_found = GappedMetals(nobody, np.zeros(60)), GappedMetals(one, one.astype(float))
    intervals = Contributions({"blind": curves}, gapped_metals=none_found).intervals(FORMULAS)
    assert "gap_precision" not in intervals
    assert "gap_mcc" not in intervals
    few = np.array(["A", "B"] * 30, dtype=object)
    assert Contributions({"blind": curves}).intervals(few) == {}


def test_equal_true_curves_have_no_r2():
    same = np.ones((6, 4))
    assert Contributions({"blind": (same, same + 0.1)}).scores()["r2_blind"] is None
