"""Losses of Mat2Spec."""

import pytest
import torch

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.building import build_graphs
from mat2spec.models import build_model
from mat2spec.models.mat2spec import VARIANTS, Mat2SpecSettings, contrastive_loss
from mat2spec.models.mixtures import Mixture, pairwise_divergence
from mat2spec.spectra.normalisation import Setting
from tests.mat2spec.conftest import SMALL_SIZES, low_symmetry, perovskite, rock_salt


def test_ablations_switch_their_losses_off():
    sizes = SMALL_SIZES["mat2spec"] | {"alignment_weight": 0.0, "contrastive_weight": 0.0}
    model = build_model("mat2spec", sizes, 128, Setting.SUMNORM_KL)
    target = torch.full((3, 128), 1 / 128)
    graphs, _ = build_graphs(Crystals.from_structures([rock_salt(), perovskite(), low_symmetry()]))
    terms = model.losses(graphs, target)
    assert terms["alignment"].item() == terms["contrastive"].item() == 0
    assert terms["prediction"].item() > 0


@pytest.fixture
def graphs():
    return build_graphs(Crystals.from_structures([rock_salt(), perovskite(), low_symmetry()]))[0]


def variant(name):
    return build_model("mat2spec", SMALL_SIZES["mat2spec"] | VARIANTS[name], 128, Setting.SUMNORM_KL)


def test_variants_have_the_parts_and_losses_of_the_paper_and_all_predict(graphs):
    target = torch.full((3, 128), 1 / 128)
    terms = {name: set(variant(name).losses(graphs, target)) for name in VARIANTS}
    assert terms["published"] == terms["mixture"] == {"prediction", "label_prediction", "alignment", "contrastive"}
    assert terms["no-label-generator"] == {"prediction"}
    assert terms["no-projector"] == {"prediction", "label_prediction", "alignment"}
    assert not hasattr(variant("no-projector"), "projector")
    for name in VARIANTS:
        torch.testing.assert_close(variant(name)(graphs).sum(dim=1), torch.ones(3))


def test_label_branch_sees_the_crystal_where_it_shall():
    target = torch.softmax(torch.rand(3, 128), dim=1)
    for sees, settings in ((True, "mixture"), (False, None)):
        model = variant(settings) if settings else build_model("mat2spec", SMALL_SIZES["mat2spec"], 128, "sumnorm-kl")
        model.eval()
        rebuilt = [model.rebuild_labels(vectors, target) for vectors in (torch.zeros(3, 16), torch.ones(3, 16))]
        assert torch.allclose(*rebuilt) is not sees


def test_mixing_weights_follow_the_label_where_they_shall():
    torch.manual_seed(0)
    target = torch.softmax(3 * torch.randn(4, 128), dim=1)
    sizes = SMALL_SIZES["mat2spec"] | {"weights_follow_label": True}
    model = build_model("mat2spec", sizes, 128, Setting.SUMNORM_KL)
    torch.nn.init.zeros_(model.label_generator.weights[2].weight)
    torch.nn.init.zeros_(model.label_generator.weights[2].bias)
    torch.testing.assert_close(model.label_mixture(target).weights, target, rtol=1e-3, atol=1e-5)
    standard = build_model("mat2spec", sizes, 128, Setting.STANDARD_MAE).label_mixture(torch.randn(4, 128))
    torch.testing.assert_close(standard.weights.sum(dim=1), torch.ones(4))


def test_the_loss_of_the_label_branch_has_its_weight(graphs):
    target = torch.full((3, 128), 1 / 128)
    losses = []
    for weight in (1.0, 10.0):
        torch.manual_seed(0)
        model = build_model(
            "mat2spec", SMALL_SIZES["mat2spec"] | {"label_prediction_weight": weight}, 128, "sumnorm-kl"
        )
        losses.append(model.losses(graphs, target))
    torch.testing.assert_close(losses[1]["label_prediction"], 10 * losses[0]["label_prediction"])
    torch.testing.assert_close(losses[1]["prediction"], losses[0]["prediction"])


def test_weights_from_before_the_variants_are_of_the_pairwise_alignment():
    settings = Mat2SpecSettings()
    assert (settings.alignment, settings.label_sees_crystal) == ("published", False)


def test_divergence_by_matrix_products_is_the_plain_sum_over_all_pairs():
    generator = torch.Generator().manual_seed(0)
    n, k, k_shared, d = 3, 4, 6, 5

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.1

    first = Mixture(torch.softmax(rand(n, k), 1), rand(n, k, d), rand(n, k, d))
    second = Mixture(torch.softmax(rand(n, k_shared), 1), rand(k_shared, d), rand(k_shared, d))
    expected = 0.0
    for crystal in range(n):
        for i in range(k):
            for j in range(k_shared):
                one = torch.distributions.Normal(first.means[crystal, i], first.variances[crystal, i].sqrt())
                two = torch.distributions.Normal(second.means[j], second.variances[j].sqrt())
                both = torch.distributions.kl_divergence(one, two) + torch.distributions.kl_divergence(two, one)
                expected += first.weights[crystal, i] * second.weights[crystal, j] * both.mean() / n
    assert pairwise_divergence(first, second).item() == pytest.approx(expected.item(), rel=1e-9)


def test_contrastive_loss_is_zero_for_a_single_crystal_and_lowest_for_matching_sides():
    assert contrastive_loss(torch.rand(1, 4), torch.rand(1, 4), 1.0).item() == 0
    sides = torch.eye(4)
    assert contrastive_loss(sides, sides, 1.0) < contrastive_loss(sides, sides.roll(1, 0), 1.0)
