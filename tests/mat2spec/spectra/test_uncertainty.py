"""Calibrated uncertainty: coverage, distance to the training crystals, storage."""

import copy

import pytest
import torch
from scipy.stats import spearmanr

from mat2spec.spectra.uncertainty import INTERVAL_90, ErrorModel, ValidationSet

WIDTH, SIZE = 16, 51


def synthetic(n, seed, error=0.02):
    """Shapes whose true error is proportional to the density, on crystals of one cloud."""
    random = torch.Generator().manual_seed(seed)
    shapes = torch.softmax(2 * torch.randn(n, SIZE, generator=random), dim=1)
    noise = torch.randn(n, SIZE, generator=random)
    true = (shapes + (error + shapes) * 0.5 * shapes * noise).clamp_min(0)
    vectors = torch.randn(n, WIDTH, generator=random)
    return ValidationSet(shapes, torch.zeros_like(shapes), vectors, true)


@pytest.fixture
def fitted():
    model = ErrorModel()
    model.fit(synthetic(400, 0).vectors, synthetic(300, 1))
    return model


def test_interval_holds_its_share_of_new_errors(fitted):
    new = synthetic(300, 2)
    answer = fitted(new.shapes, new.spread, new.vectors)
    covered = ((new.true_shapes - new.shapes).abs() <= INTERVAL_90 * answer.per_bin).float().mean()
    assert 0.88 < covered < 0.92
    expected = (new.true_shapes - new.shapes).abs().sum(dim=1).mean()
    assert answer.per_spectrum.mean() == pytest.approx(float(expected), rel=0.1)


def test_larger_errors_widen_the_interval():
    wide = ErrorModel()
    data = synthetic(300, 1)
    narrow_residuals = data._replace(true_shapes=data.shapes + 0.1 * (data.true_shapes - data.shapes))
    narrow = ErrorModel()
    wide.fit(data.vectors, data)
    narrow.fit(data.vectors, narrow_residuals)
    per_bin = [model(data.shapes, data.spread, data.vectors).per_bin.mean() for model in (wide, narrow)]
    assert per_bin[0] == pytest.approx(10 * float(per_bin[1]), rel=0.3)


def test_distance_tells_the_outside_from_the_inside(fitted):
    inside, outside = synthetic(200, 3).vectors, synthetic(200, 4).vectors + 20
    assert (fitted.distances(inside) < 1.5).float().mean() > 0.95
    assert (fitted.distances(outside) > 2).all()


def test_disagreement_of_an_ensemble_counts_where_it_predicts_the_error():
    data = synthetic(400, 5)
    disagreement = 0.05 * torch.rand(400, SIZE, generator=torch.Generator().manual_seed(6))
    noise = torch.randn(400, SIZE, generator=torch.Generator().manual_seed(7))
    true = data.shapes + disagreement * noise
    model = ErrorModel()
    model.fit(data.vectors, data._replace(spread=disagreement, true_shapes=true))
    torn = torch.zeros_like(disagreement)
    torn[:, : SIZE // 2] = 0.05
    per_bin = model(data.shapes, torn, data.vectors).per_bin
    assert per_bin[:, : SIZE // 2].mean() > 2 * per_bin[:, SIZE // 2 :].mean()


def test_blurred_spectra_are_distinguished_from_sharp_ones_where_blur_predicts_the_error():
    random = torch.Generator().manual_seed(9)
    sharpness = 0.5 + 4 * torch.rand(400, 1, generator=random)
    shapes = torch.softmax(sharpness * torch.randn(400, SIZE, generator=random), dim=1)
    true = torch.softmax(shapes.log() + torch.randn(400, SIZE, generator=random) / sharpness, dim=1)
    vectors = torch.randn(400, WIDTH, generator=random)
    data = ValidationSet(shapes, torch.zeros_like(shapes), vectors, true)
    model = ErrorModel()
    model.fit(vectors[:200], ValidationSet(*(part[:200] for part in data)))
    expected = model(shapes[200:], data.spread[200:], vectors[200:]).per_spectrum
    error = (shapes - true)[200:].abs().sum(dim=1)
    assert spearmanr(expected, error).statistic > 0.5


def test_unfitted_model_knows_that_it_knows_nothing():
    data = synthetic(3, 0)
    answer = ErrorModel()(data.shapes, data.spread, data.vectors)
    assert answer.per_bin.isnan().all()
    assert answer.per_spectrum.isnan().all()


def test_state_is_restored_whatever_the_size_of_the_training_set(fitted):
    data = synthetic(5, 8)
    restored = ErrorModel()
    restored.load_state_dict(copy.deepcopy(fitted.state_dict()))
    for mine, other in zip(
        fitted(data.shapes, data.spread, data.vectors), restored(data.shapes, data.spread, data.vectors), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)


def test_one_crystal_is_too_few_to_calibrate():
    data = synthetic(2, 0)
    with pytest.raises(ValueError, match="cannot be calibrated on 1 training"):
        ErrorModel().fit(data.vectors[:1], data)
