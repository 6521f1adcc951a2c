import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.metrics import evaluate_spectra, normalise_sum, r2_score, wasserstein_distances


@pytest.fixture
def spectra():
    generator = np.random.default_rng(0)
    return generator.random((7, 128)), generator.random((7, 128))


def test_r2_is_the_variance_weighted_one(spectra):
    true, predicted = spectra
    per_bin = 1 - ((true - predicted) ** 2).mean(axis=0) / true.var(axis=0)
    assert r2_score(true, predicted) == pytest.approx(np.average(per_bin, weights=true.var(axis=0)), rel=1e-12)
    assert np.isnan(r2_score(np.ones((3, 4)), np.ones((3, 4))))


def test_wasserstein_distance_is_in_units_of_the_grid(spectra):
    true, predicted = spectra
    expected = [wasserstein_distance(EDOS_GRID.centers, EDOS_GRID.centers, t, p) for t, p in zip(*spectra, strict=True)]
    np.testing.assert_allclose(wasserstein_distances(true, predicted, EDOS_GRID), expected, rtol=1e-9)


def test_shape_of_an_empty_spectrum_is_undefined():
    assert np.isnan(normalise_sum(np.zeros((1, 4)))).all()


def test_perfect_prediction_and_foreign_grid(spectra):
    scores = evaluate_spectra(spectra[0], spectra[0], EDOS_GRID)
    assert (scores["r2"], scores["mae"], scores["wasserstein"]) == (1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="128 bins"):
        evaluate_spectra(spectra[0][:, :51], spectra[1][:, :51], EDOS_GRID)
