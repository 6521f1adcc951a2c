import numpy as np
import pytest
import torch

from mat2spec.crystals.arrays import Crystals
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tight_binding.model import TightBindingSettings
from mat2spec.training.folders import TrainingError
from mat2spec.training.tight_binding import TightBindingTraining, make_solvable, spectrum_loss, train_tight_binding
from tests.mat2spec.conftest import perovskite, rock_salt_primitive

SMALL = TightBindingTraining(
    model=TightBindingSettings(n_members=1, width=8, head_width=8, kpoints_per_atom=20),
    epochs=3,
    batch_size=2,
    kpoints_per_atom=20,
)


@pytest.fixture(scope="module")
def crystals():
    structures = [rock_salt_primitive(a, *pair) for a, pair in ((5.6, ("Na", "Cl")), (4.2, ("Mg", "O")))]
    structures += [perovskite(), perovskite(3.9, ("Sr", "Ti", "O"))]
    centers = EDOS_GRID.centers
    spectra = np.array([np.exp(-(((centers - shift) / 1.5) ** 2)) for shift in (-2.0, -1.0, 0.0, 1.0)])
    return make_solvable(Crystals.from_structures(structures), spectra, SMALL.model, SMALL.kpoints_per_atom)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items() if name.startswith("members")}


def test_a_resumed_training_is_the_same_training(crystals, tmp_path):
    whole = train_tight_binding(crystals, crystals[:3], SMALL, tmp_path / "whole")
    stopped = []

    def stop(numbers):
        stopped.append(numbers)
        if len(stopped) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_tight_binding(crystals, crystals[:3], SMALL, tmp_path / "again", stop)
    resumed = train_tight_binding(crystals, crystals[:3], SMALL, tmp_path / "again")
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_training_lowers_the_loss_and_calibrates(crystals, tmp_path):
    losses = []
    model = train_tight_binding(
        crystals, crystals[:3], SMALL.model_copy(update={"epochs": 8}), tmp_path, lambda n: losses.append(n["loss"])
    )
    assert losses[-1] < 0.9 * losses[0]
    assert model.error_model.is_fitted
    assert float(model.log_integral_std) > 0


def test_a_checkpoint_of_another_training_is_refused(crystals, tmp_path):
    one = SMALL.model_copy(update={"epochs": 1})
    train_tight_binding(crystals, crystals[:3], one, tmp_path)
    with pytest.raises(TrainingError, match="other settings"):
        train_tight_binding(crystals, crystals[:3], one.model_copy(update={"cumulative_weight": 0.1}), tmp_path)


def test_the_loss_vanishes_for_the_right_spectrum_but_for_its_floor():
    target = torch.softmax(torch.randn(128, generator=torch.Generator().manual_seed(0)), dim=0)
    right = spectrum_loss(target, target, SMALL)
    assert float(right) < 0.02
    assert float(spectrum_loss(2 * target, target, SMALL)) == pytest.approx(
        float(right) + 0.1 * np.log(2) ** 2, rel=1e-3
    )
    assert float(spectrum_loss(target.roll(20), target, SMALL)) > 0.5
