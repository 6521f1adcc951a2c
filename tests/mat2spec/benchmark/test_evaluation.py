from dataclasses import dataclass

import numpy as np
import pytest

from mat2spec.benchmark.evaluation import evaluate_phdos, material_errors, rank_correlation
from mat2spec.spectra.grids import PHDOS_GRID
from mat2spec.spectra.phonons import GAS_CONSTANT_J_PER_MOL_K, KELVIN_PER_CM1


@dataclass
class Labels:
    spectra: np.ndarray
    n_atoms: np.ndarray
    grid: object = PHDOS_GRID


def peaks(frequencies_cm1, width_cm1=60.0):
    return np.exp(-(((PHDOS_GRID.centers - np.asarray(frequencies_cm1)[:, None]) / width_cm1) ** 2))


@pytest.fixture
def labels():
    frequencies = [200, 300, 400, 500, 600]
    return Labels(peaks(frequencies).astype(np.float32), np.array([2, 3, 4, 5, 6]))


def test_the_truth_is_perfect_on_every_scale(labels):
    factors = np.array([1, 2, 3, 4, 50.0])[:, None]
    scores = evaluate_phdos(factors * labels.spectra, None, labels)
    for scale in ("blind", "modes", "oracle"):
        assert scores[f"r2_{scale}"] == pytest.approx(1)
        assert scores[f"mae_{scale}"] == pytest.approx(0, abs=1e-9)
        assert scores[f"mse_{scale}"] == pytest.approx(0, abs=1e-9)
    for name in ("wasserstein_cm1", "heat_capacity_mae", "mean_frequency_mae_cm1", "n_empty"):
        assert scores[name] == pytest.approx(0, abs=1e-6)
    assert scores["coverage_90"] is scores["error_rank_correlation"] is None


def test_a_shift_by_two_bins_is_known_everywhere():
    true, shifted = np.zeros((2, 51)), np.zeros((2, 51))
    true[[0, 1], [10, 20]], shifted[[0, 1], [12, 22]] = 1, 1
    scores = evaluate_phdos(shifted, None, Labels(true.astype(np.float32), np.array([1, 3])))
    assert scores["wasserstein_cm1"] == pytest.approx(40)
    assert scores["mean_frequency_mae_cm1"] == pytest.approx(40)
    assert scores["mae_blind"] == scores["mae_oracle"] == pytest.approx(2 / 51)
    assert scores["mae_modes"] == pytest.approx(2 / 51 * 3 / 20)

    def capacity(frequency):
        ratio = KELVIN_PER_CM1 * frequency / 300
        return 3 * GAS_CONSTANT_J_PER_MOL_K * ratio**2 * np.exp(ratio) / np.expm1(ratio) ** 2

    expected = (capacity(200) - capacity(240) + 3 * (capacity(400) - capacity(440))) / 2
    assert scores["heat_capacity_mae"] == pytest.approx(expected)


def test_blind_and_oracle_differ_where_the_width_is_wrong(labels):
    scores = evaluate_phdos(peaks([200, 300, 400, 500, 600], 90.0), None, labels)
    assert scores["mae_oracle"] != pytest.approx(scores["mae_blind"], rel=1e-2)
    # The oracle curve has the sum of the true one; the blind one its maximum.
    predicted = peaks([200.0], 90.0)[0]
    true = peaks([200.0])[0]
    alone = evaluate_phdos(predicted[None], None, Labels(true[None].astype(np.float32), np.array([2])))
    assert alone["mae_blind"] == pytest.approx(np.abs(predicted - true).mean(), rel=1e-5)
    assert alone["mae_oracle"] == pytest.approx(
        np.abs(predicted * true.sum() / predicted.sum() - true).mean(), rel=1e-5
    )


def test_coverage_counts_bins_and_knows_no_scale(labels):
    predicted = 1.1 * labels.spectra + 0.01
    for factor in (1.0, 1000.0):
        wide = evaluate_phdos(factor * predicted, factor * np.full((5, 51), 10.0), labels)
        narrow = evaluate_phdos(factor * predicted, factor * np.full((5, 51), 1e-9), labels)
        assert wide["coverage_90"] == 1
        assert narrow["coverage_90"] < 0.1


def test_normal_errors_are_covered_in_nine_of_ten_bins():
    generator = np.random.default_rng(0)
    true = 5 + generator.random((200, 51))
    sigma = 0.1 * generator.random((200, 51)) + 0.01
    predicted = true + sigma * generator.standard_normal((200, 51))
    scores = evaluate_phdos(predicted, sigma, Labels(true.astype(np.float32), np.full(200, 2)))
    assert scores["coverage_90"] == pytest.approx(0.9, abs=0.01)


def test_rank_correlation_tells_good_from_bad_uncertainty(labels):
    errors = np.array([0.0, 0.1, 0.2, 0.4, 0.8])
    predicted = labels.spectra + errors[:, None] * peaks([800] * 5)
    of_bins = np.repeat(errors[:, None] + 0.01, 51, axis=1)
    assert evaluate_phdos(predicted, of_bins, labels)["error_rank_correlation"] > 0.85
    wrong = evaluate_phdos(predicted, of_bins, labels, spectrum_uncertainty=errors[::-1])
    assert wrong["error_rank_correlation"] < -0.85
    assert rank_correlation(np.full(5, 0.3), errors) is None


def test_empty_predictions_are_judged_as_flat_ones_and_counted(labels):
    predicted = labels.spectra.astype(np.float64)
    predicted[1], predicted[2, 3] = 0.0, np.nan
    scores = evaluate_phdos(predicted, None, labels)
    flat = labels.spectra.astype(np.float64)
    flat[1:3] = 1.0
    assert scores["n_empty"] == 2
    assert scores["wasserstein_cm1"] == pytest.approx(evaluate_phdos(flat, None, labels)["wasserstein_cm1"])
    assert all(value is None or np.isfinite(value) for value in scores.values())


def test_spectra_that_are_not_those_of_the_labels_are_refused(labels):
    with pytest.raises(ValueError, match="4 predicted and 5 true"):
        evaluate_phdos(labels.spectra[:4], None, labels)
    with pytest.raises(ValueError, match="has 51 bins"):
        evaluate_phdos(np.ones((5, 128)), None, labels)


def test_material_errors_average_to_the_blind_error(labels):
    predicted = peaks([210, 300, 420, 500, 660])
    errors = material_errors(predicted, labels)
    assert errors[1] == pytest.approx(0, abs=1e-6)
    assert errors.mean() == pytest.approx(evaluate_phdos(predicted, None, labels)["mae_blind"])
