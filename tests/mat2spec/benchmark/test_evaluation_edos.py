from dataclasses import dataclass

import numpy as np
import pytest

from mat2spec.benchmark.detection import GappedMetals
from mat2spec.benchmark.evaluation_edos import evaluate_edos
from mat2spec.spectra.grids import EDOS_GRID


@dataclass(frozen=True)
class Labels:
    spectra: np.ndarray
    n_atoms: np.ndarray
    grid = EDOS_GRID


@pytest.fixture
def labels():
    centres = np.array([-2.0, -1.0, 0.5, 2.0])
    spectra = np.exp(-((EDOS_GRID.centers - centres[:, None]) ** 2)) * np.array([1.0, 2.0, 3.0, 4.0])[:, None]
    return Labels(spectra, np.array([1, 2, 4, 8]))


def shapes(labels):
    return labels.spectra / labels.spectra.sum(axis=1, keepdims=True)


def test_the_truth_scores_perfectly_on_both_scales(labels):
    scores = evaluate_edos(labels.spectra, None, labels)
    assert scores["r2_blind"] == scores["r2_oracle"] == pytest.approx(1)
    assert scores["wasserstein_ev"] == pytest.approx(0, abs=1e-12)
    assert (scores["n"], scores["n_empty"]) == (4, 0)


def test_a_shape_has_a_blind_scale_only_with_predicted_totals(labels):
    alone = evaluate_edos(shapes(labels), None, labels)
    assert alone["r2_oracle"] == pytest.approx(1)
    assert "r2_blind" not in alone
    totals = labels.spectra.sum(axis=1)
    assert evaluate_edos(shapes(labels), None, labels, totals)["r2_blind"] == pytest.approx(1)
    doubled = evaluate_edos(shapes(labels), None, labels, 2 * totals)
    cells = labels.spectra * labels.n_atoms[:, None]
    assert doubled["mae_blind"] == pytest.approx(cells.mean())
    assert doubled["mae_oracle"] == pytest.approx(0, abs=1e-12)


def test_errors_are_of_the_cell_and_distances_of_the_shape(labels):
    wrong = labels.spectra.copy()
    wrong[3] *= 1.5
    scores = evaluate_edos(wrong, None, labels)
    assert scores["mae_blind"] == pytest.approx(0.5 * 8 * labels.spectra[3].sum() / (4 * 128))
    moved = np.roll(labels.spectra, 3, axis=1)
    assert evaluate_edos(moved, None, labels)["wasserstein_ev"] == pytest.approx(3 * EDOS_GRID.width, rel=0.02)


def test_a_prediction_without_states_is_counted_and_judged_as_flat(labels):
    broken = labels.spectra.copy()
    broken[0], broken[1] = 0.0, np.nan
    scores = evaluate_edos(broken, None, labels)
    assert scores["n_empty"] == 2
    assert np.isfinite(scores["r2_oracle"])


def test_coverage_is_of_the_shape_whatever_the_scale(labels):
    sigma = np.full_like(labels.spectra, 0.1) * labels.spectra.sum(axis=1, keepdims=True)
    assert evaluate_edos(labels.spectra, sigma, labels)["coverage_90"] == 1
    moved = np.roll(labels.spectra, 40, axis=1)
    narrow = evaluate_edos(moved, 1e-6 * sigma, labels)["coverage_90"]
    assert narrow < 0.5


def test_gaps_are_judged_in_cells(labels):
    seen = []

    def find(spectra, n_sites):
        seen.append((spectra, n_sites))
        return GappedMetals(np.array([True, True, False, False]), np.array([0.9, 0.8, 0.2, 0.1]))

    scores = evaluate_edos(labels.spectra, None, labels, None, find)
    assert [scores[f"gap_{name}"] for name in ("f1", "mcc", "average_precision")] == pytest.approx([1, 1, 1])
    assert scores["n_gapped_metals"] == 2
    for spectra, n_sites in seen:
        np.testing.assert_allclose(spectra, labels.spectra * labels.n_atoms[:, None])
        assert n_sites.tolist() == [1, 2, 4, 8]


def test_what_a_predictor_says_of_gapped_metals_comes_before_the_classifier(labels):
    def find(spectra, n_sites):
        return GappedMetals(np.array([True, True, False, False]), np.ones(4))

    own = GappedMetals(np.array([True, False, False, True]), np.array([0.9, 0.1, 0.2, 0.8]))
    scores = evaluate_edos(labels.spectra, None, labels, None, find, own)
    assert scores["gap_precision"] == scores["gap_recall"] == pytest.approx(0.5)
    assert scores["gap_average_precision"] == pytest.approx((1 + 2 / 4) / 2)


def test_another_grid_or_number_is_refused(labels):
    with pytest.raises(ValueError, match="128 bins"):
        evaluate_edos(np.ones((4, 51)), None, labels)
    with pytest.raises(ValueError, match="3 predicted and 4 true"):
        evaluate_edos(np.ones((3, 128)), None, labels)
