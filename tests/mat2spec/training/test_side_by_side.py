"""Trainings side by side are the trainings that they would be alone."""

import math

import pytest
import torch
from torch.nn.functional import dropout

from mat2spec.models.mat2spec import VARIANTS, Mat2Spec, Mat2SpecSettings
from mat2spec.spectra.normalisation import Setting
from mat2spec.training.batching import with_targets
from mat2spec.training.dense import DenseCrystals
from mat2spec.training.loop import set_target_statistics, validation_loss
from mat2spec.training.side_by_side import Schedule, SplitSpectra, VariantRun, _Stack, train_side_by_side
from tests.mat2spec.conftest import SMALL_SIZES

CPU = torch.device("cpu")
SIZES = SMALL_SIZES["mat2spec"]


def stacked(data):
    encoder = Mat2Spec(Mat2SpecSettings(), 128, Setting.SUMNORM_KL).encoder
    return SplitSpectra(DenseCrystals.of(data.graphs, encoder), torch.from_numpy(data.spectra))


@pytest.fixture
def _without_noise(monkeypatch):
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    monkeypatch.setattr("torch.nn.functional.dropout", lambda values, *_args: dropout(values, 0.0))


@pytest.mark.usefixtures("_without_noise")
@pytest.mark.parametrize("setting", [Setting.SUMNORM_KL, Setting.STANDARD_MAE])
def test_a_step_of_every_variant_is_that_of_a_single_training(labelled, setting):
    train = labelled.part("train")
    runs = [VariantRun(variant, seed) for variant in VARIANTS for seed in (0, 1)]
    stack = _Stack(runs, stacked(train), stacked(labelled.part("valid")), setting, Schedule(sizes=SIZES), CPU)
    before = stack.parameters.detach().clone(), stack.statistics.clone()
    stack.begin_epoch(0, 200)
    batches = stack.order[:, 0]
    stack.step()
    for index, run in enumerate(runs):
        model = stack._model(run, before[0][index], before[1][index]).train()
        set_target_statistics(model, train)
        batch = with_targets(model, train).take(batches[index])
        torch.stack(list(model.losses(batch, batch.y).values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        found = stack._unflatten(stack.parameters.grad[index])
        for name, one in model.named_parameters():
            torch.testing.assert_close(one.grad, found[f"model.{name}"], rtol=1e-3, atol=1e-5, msg=f"{run} {name}")
        after = stack._model(run, stack.parameters.detach()[index], stack.statistics[index])
        for name, one in model.named_buffers():
            if "running" in name:
                torch.testing.assert_close(one, dict(after.named_buffers())[name], rtol=1e-4, atol=1e-5)


def test_the_models_are_those_of_the_best_epochs_and_repeat_exactly(labelled):
    train, valid = labelled.part("train"), labelled.part("valid")
    runs = [VariantRun("mixture", 0), VariantRun("no-label-generator", 1)]
    schedule = Schedule(epochs=4, sizes=SIZES)
    first, second = (
        train_side_by_side(
            runs, stacked(train), stacked(valid), Setting.SUMNORM_KL, schedule, CPU, report=lambda _: None
        )
        for _ in range(2)
    )
    assert first.epochs == 4
    assert first.valid_losses == second.valid_losses
    for model, loss in zip(first.models, first.valid_losses, strict=True):
        assert validation_loss(model, with_targets(model, valid), 64, CPU) == pytest.approx(loss, rel=1e-4)
    assert not hasattr(first.models[1], "label_generator")


def test_fewer_epochs_are_planned_where_time_is_short(labelled):
    train, valid = stacked(labelled.part("train")), stacked(labelled.part("valid"))
    schedule = Schedule(epochs=200, sizes=SIZES, time_limit_s=1e-3)
    trained = train_side_by_side([VariantRun("published", 0)], train, valid, Setting.SUMNORM_KL, schedule, CPU)
    assert trained.epochs == 2
    assert math.isfinite(trained.valid_losses[0])
