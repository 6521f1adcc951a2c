import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from mat2spec.models import build_model
from mat2spec.models.checkpoints import WeightsError, load_weights
from mat2spec.spectra.normalisation import Setting, prediction_loss
from mat2spec.training.calibration import spectra_per_atom, spectra_with_uncertainty
from mat2spec.training.loop import TrainingError, set_target_statistics, train_model
from mat2spec.training.runs import run_training
from mat2spec.training.settings import TrainingSettings
from tests.mat2spec.conftest import SMALL_SIZES


def quick(**changes):
    values = {
        "model": "gatgnn",
        "model_settings": SMALL_SIZES[changes.get("model", "gatgnn")],
        "epochs": 3,
        "batch_size": 9,
        "accelerator": "cpu",
        "learning_rate": 3e-3,
    }
    return TrainingSettings(**(values | changes))


def trained_state(labelled, settings, folder):
    torch.manual_seed(settings.seed)
    model = build_model(settings.model, settings.model_settings, 128, settings.setting)
    train_model(model, labelled, settings, folder, "fingerprint")
    return model.state_dict()


@pytest.mark.parametrize("model", ["mat2spec", "gatgnn"])
def test_training_beats_the_mean_spectrum(labelled, tmp_path, model):
    path = run_training(labelled, quick(model=model, epochs=40, learning_rate=5e-3), tmp_path)
    losses = [float(row["valid"]) for row in csv.DictReader((tmp_path / "curves.csv").open())]
    assert len(losses) == 40
    shapes = torch.from_numpy(labelled.part("valid").spectra)
    shapes = shapes / shapes.sum(dim=1, keepdim=True)
    mean = torch.from_numpy(labelled.part("train").spectra).mean(dim=0)
    of_the_mean = prediction_loss((mean / mean.sum()).expand_as(shapes), shapes, Setting.SUMNORM_KL).item()
    assert min(losses) < 0.8 * of_the_mean
    assert load_weights(path)[1].training["materials"] == {"train": 28, "valid": 6, "test": 6}


@pytest.mark.parametrize("model", ["mat2spec", "gatgnn"])
def test_resumed_training_ends_where_an_uninterrupted_one_does(labelled, tmp_path, model):
    whole = trained_state(labelled, quick(model=model, schedule="cosine", epochs=4), tmp_path / "whole")

    class KilledError(Exception):
        pass

    def kill(line):
        if line["epoch"] == 2:
            raise KilledError

    settings = quick(model=model, schedule="cosine", epochs=4)
    torch.manual_seed(settings.seed)
    first = build_model(model, settings.model_settings, 128, settings.setting)
    with pytest.raises(KilledError):
        train_model(first, labelled, settings, tmp_path / "cut", "fingerprint", kill)
    resumed = trained_state(labelled, settings, tmp_path / "cut")
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, msg=name, equal_nan=True)


def test_checkpoint_of_another_training_is_refused(labelled, tmp_path):
    run_training(labelled, quick(epochs=1), tmp_path)
    with pytest.raises(TrainingError, match="checkpoint of another training"):
        run_training(labelled, quick(epochs=1, seed=5), tmp_path)


def test_best_epoch_is_kept_and_patience_ends_early(labelled, tmp_path):
    settings = quick(epochs=30, patience=1, learning_rate=1.0)
    run_training(labelled, settings, tmp_path)
    losses = [float(row["valid"]) for row in csv.DictReader((tmp_path / "curves.csv").open())]
    assert len(losses) < 30
    assert losses[-1] > min(losses)


def test_frozen_encoder_stays_as_it_was(labelled, tmp_path):
    donor = run_training(labelled, quick(epochs=1), tmp_path / "donor")
    path = run_training(labelled, quick(encoder_learning_rate_factor=0), tmp_path / "frozen", donor)
    kept, given = load_weights(path)[0].encoder.state_dict(), load_weights(donor)[0].encoder.state_dict()
    for name, tensor in given.items():
        torch.testing.assert_close(kept[name], tensor, rtol=0, atol=0, msg=name)


def test_encoder_of_another_size_is_refused(labelled, tmp_path):
    donor = run_training(labelled, quick(epochs=1), tmp_path / "donor")
    other = quick(model="mat2spec", model_settings={**SMALL_SIZES["mat2spec"], "encoder": {"width": 24}})
    with pytest.raises(WeightsError, match="does not fit the model 'mat2spec'"):
        run_training(labelled, other, tmp_path / "other", donor)


def test_empty_split_is_a_sentence(labelled, tmp_path):
    only_train = labelled.take(np.flatnonzero(labelled.split == "train"))
    with pytest.raises(TrainingError, match="28 spectra to train on and 0 to validate"):
        run_training(only_train, quick(), tmp_path)


def test_scaler_is_fitted_on_training_spectra_alone(labelled):
    model = build_model("gatgnn", SMALL_SIZES["gatgnn"], 128, Setting.STANDARD_MAE)
    set_target_statistics(model, labelled.part("train"))
    np.testing.assert_allclose(model.target_mean, labelled.spectra[labelled.split == "train"].mean(axis=0), rtol=1e-5)
    assert np.abs(model.target_mean.numpy() - labelled.spectra.mean(axis=0)).max() > 1e-3


def test_scale_model_predicts_states_per_atom(labelled, tmp_path):
    path = run_training(labelled, quick(setting=Setting.STANDARD_MAE, epochs=20), tmp_path)
    model, card = load_weights(path)
    predicted = spectra_per_atom(model, labelled.part("test"))
    assert (predicted >= 0).all()
    assert card.metrics["test"]["mae"] < np.abs(labelled.part("test").spectra).mean()
    assert model.integral_residual_std > 0


def test_store_test_materials_are_reported_apart(labelled, tmp_path):
    split = labelled.split.copy()
    split[np.flatnonzero(split == "test")[:3]] = "store_test"
    path = run_training(replace(labelled, split=split), quick(epochs=1), tmp_path)
    card = load_weights(path)[1]
    assert card.training["materials"] == {"train": 28, "valid": 6, "test": 3, "store_test": 3}
    assert card.metrics["store_test"]["n"] == card.metrics["test"]["n"] == 3
    assert card.metrics["store_test"]["mae"] != card.metrics["test"]["mae"]


def test_uncertainty_is_fitted_to_calibration_materials_where_there_are_any(labelled, tmp_path):
    split = labelled.split.copy()
    split[np.flatnonzero(split == "test")[:3]] = "calibration"
    data = replace(labelled, split=split)
    moved = data.spectra.copy()
    moved[split == "calibration"] = np.roll(moved[split == "calibration"], 30, axis=1)
    predicted, widths = [], []
    for number, spectra in enumerate((data.spectra, moved)):
        path = run_training(replace(data, spectra=spectra), quick(epochs=2), tmp_path / str(number))
        model, card = load_weights(path)
        spectrum, width = spectra_with_uncertainty(model, data.part("valid"))
        predicted.append(spectrum)
        widths.append(width)
    assert card.training["materials"] == {"train": 28, "valid": 6, "test": 3, "calibration": 3}
    np.testing.assert_array_equal(*predicted)
    assert np.abs(widths[1] - widths[0]).max() > 0.1 * widths[0].mean()
