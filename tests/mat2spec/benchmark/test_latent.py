"""Figures of the latent space of Mat2Spec."""

import pytest
import torch

from mat2spec.benchmark.latent import describe_latent
from mat2spec.models import build_model
from mat2spec.models.mat2spec import VARIANTS
from tests.mat2spec.conftest import SMALL_SIZES


@pytest.fixture
def batch():
    return torch.rand(6, 16), torch.softmax(torch.rand(6, 51), dim=1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_figures_of_every_variant(batch, variant):
    model = build_model("mat2spec", SMALL_SIZES["mat2spec"] | VARIANTS[variant], 51, "sumnorm-kl")
    figures = describe_latent(model, *batch)
    assert ("r2_rebuilt" in figures) == (variant != "no-label-generator")
    assert 1 <= figures["feature_components"] <= 10
    assert 1 <= figures.get("label_components", 1) <= 51


def test_a_model_that_ignores_its_latent_vector_loses_nothing_when_it_is_frozen(batch):
    model = build_model("mat2spec", SMALL_SIZES["mat2spec"], 51, "sumnorm-kl")
    figures = describe_latent(model, *batch)
    assert figures["r2"] != figures["r2_frozen"]
    with torch.no_grad():
        model.translator[0].weight[:, 16:] = 0
    figures = describe_latent(model, *batch)
    assert figures["r2"] == pytest.approx(figures["r2_frozen"], abs=1e-6)
