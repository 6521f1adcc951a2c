import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy, wasserstein_distance

from mat2spec.spectra.normalisation import Setting, activate, prediction_loss, prepare_targets, to_spectra_per_atom

MEAN, STD = torch.zeros(4), torch.tensor(1.0)


@pytest.mark.parametrize("setting", Setting)
def test_activation_and_targets_have_the_same_form(setting):
    spectra = torch.rand(5, 4) + 0.1
    target = prepare_targets(spectra, setting, spectra.mean(0), spectra.std())
    output = activate(torch.randn(5, 4), setting)
    if setting is Setting.MAXNORM_MSE:
        assert torch.allclose(target.amax(1), torch.ones(5))
        assert ((output.amax(1) == 1) | (output.amax(1) == 0)).all()
    elif setting is not Setting.STANDARD_MAE:
        assert torch.allclose(target.sum(1), torch.ones(5))
        assert torch.allclose(output.sum(1), torch.ones(5))
    assert prediction_loss(target, target, setting).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("setting", [s for s in Setting if s.predicts_shape])
def test_spectrum_without_states_has_no_shape(setting):
    with pytest.raises(ValueError, match="1 spectra are zero everywhere"):
        prepare_targets(torch.tensor([[0.0, 0, 0, 0], [1, 2, 3, 4]]), setting, MEAN, STD)


def test_standard_setting_takes_an_empty_spectrum_and_refuses_nan():
    assert prepare_targets(torch.zeros(1, 4), Setting.STANDARD_MAE, MEAN, STD).tolist() == [[0, 0, 0, 0]]
    with pytest.raises(ValueError, match="non-finite"):
        prepare_targets(torch.tensor([[float("nan"), 1, 1, 1]]), Setting.STANDARD_MAE, MEAN, STD)


def test_maxnorm_of_an_all_negative_output_is_zero_and_not_nan():
    assert activate(torch.full((1, 4), -1.0), Setting.MAXNORM_MSE).tolist() == [[0, 0, 0, 0]]


positive = st.lists(st.floats(0.01, 10), min_size=4, max_size=4)


@given(positive, positive)
def test_losses_are_the_textbook_ones(first, second):
    target = torch.tensor([first], dtype=torch.float64)
    predicted = torch.tensor([second], dtype=torch.float64)
    target, predicted = target / target.sum(), predicted / predicted.sum()
    kl = prediction_loss(predicted, target, Setting.SUMNORM_KL).item()
    wd = prediction_loss(predicted, target, Setting.SUMNORM_WD).item()
    assert kl == pytest.approx(entropy(target[0], predicted[0]), abs=1e-6)
    assert wd == pytest.approx(wasserstein_distance(range(4), range(4), target[0], predicted[0]), abs=1e-9)


def test_scale_survives_the_standard_setting():
    spectra = torch.rand(3, 4)
    mean, std = spectra.mean(0), spectra.std()
    prepared = prepare_targets(spectra, Setting.STANDARD_MAE, mean, std)
    assert torch.allclose(to_spectra_per_atom(prepared, Setting.STANDARD_MAE, mean, std), spectra, atol=1e-6)
