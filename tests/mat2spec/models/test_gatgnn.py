import pytest
import torch

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.building import build_graphs
from mat2spec.models import build_model
from mat2spec.spectra.normalisation import Setting, prediction_loss
from tests.mat2spec.conftest import SMALL_SIZES, perovskite, rock_salt


@pytest.fixture
def graphs():
    return build_graphs(Crystals.from_structures([rock_salt(), perovskite()]))[0]


@pytest.mark.parametrize("setting", [Setting.SUMNORM_KL, Setting.STANDARD_MAE])
def test_the_wasserstein_distance_is_a_term_of_the_loss_of_shapes_alone(graphs, setting):
    target = torch.softmax(torch.randn(2, 128), dim=1)
    model = build_model("gatgnn", SMALL_SIZES["gatgnn"] | {"wasserstein_weight": 0.5}, 128, setting).eval()
    terms = model.losses(graphs, target)
    assert ("wasserstein" in terms) == (setting is Setting.SUMNORM_KL)
    if "wasserstein" in terms:
        torch.testing.assert_close(
            terms["wasserstein"], 0.5 * prediction_loss(model(graphs), target, Setting.SUMNORM_WD)
        )
    assert set(build_model("gatgnn", SMALL_SIZES["gatgnn"], 128, setting).losses(graphs, target)) == {"prediction"}
