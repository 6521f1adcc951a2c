import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, matthews_corrcoef, precision_recall_fscore_support

from mat2spec.benchmark.detection import average_precision, flag_scores

MATERIALS = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(1, 4)),
    min_size=2,
    max_size=30,
)


@given(MATERIALS)
def test_scores_are_those_of_scikit_learn(materials):
    predicted, truth, confidence, weights = (np.array(column) for column in zip(*materials, strict=True))
    scores = {name: value[0] for name, value in flag_scores(predicted, truth, weights[None].astype(float)).items()}
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, average="binary", sample_weight=weights, zero_division=np.nan
    )
    if predicted.any():
        assert scores["precision"] == pytest.approx(precision)
    if truth.any():
        assert scores["recall"] == pytest.approx(recall)
        assert scores["f1"] == pytest.approx(f1)
        expected = average_precision_score(truth, confidence, sample_weight=weights)
        assert average_precision(confidence, truth, weights[None].astype(float))[0] == pytest.approx(expected)
    if len(set(predicted)) == len(set(truth)) == 2:
        assert scores["mcc"] == pytest.approx(matthews_corrcoef(truth, predicted, sample_weight=weights))


def test_what_is_not_defined_is_nan():
    nobody = np.zeros(3, dtype=bool)
    scores = flag_scores(nobody, nobody, np.ones((2, 3)))
    assert all(np.isnan(values).all() and values.shape == (2,) for values in scores.values())
    assert np.isnan(average_precision(np.array([0.1, 0.2, 0.3]), nobody, np.ones((2, 3)))).all()
    assert np.isnan(average_precision(np.empty(0), np.empty(0, dtype=bool), np.ones((2, 0)))).all()


def test_a_ranking_that_knows_nothing_has_the_share_of_the_class():
    truth = np.arange(20) < 4
    assert average_precision(np.full(20, 0.3), truth, np.ones((1, 20)))[0] == pytest.approx(0.2)


def test_a_draw_without_a_material_is_one_without_it():
    generator = np.random.default_rng(0)
    truth, confidence = generator.random(15) < 0.4, generator.random(15)
    kept = np.arange(15) % 3 > 0
    drawn = average_precision(confidence, truth, kept[None].astype(float))[0]
    assert drawn == pytest.approx(average_precision(confidence[kept], truth[kept], np.ones((1, kept.sum())))[0])
