from dataclasses import replace

import numpy as np
import pytest

from mat2spec.crystals.arrays import Crystals
from mat2spec.labels.labelled import DataError
from mat2spec.models.checkpoints import read_card
from mat2spec.tight_binding.model import TightBindingSettings
from mat2spec.tight_binding.predictor import load_tight_binding
from mat2spec.training.tight_binding import TightBindingTraining
from mat2spec.training.tight_binding_runs import run_tight_binding
from tests.mat2spec.conftest import rock_salt_primitive

SMALL = TightBindingTraining(
    model=TightBindingSettings(n_members=2, width=8, head_width=8, kpoints_per_atom=20), epochs=1, kpoints_per_atom=20
)


@pytest.fixture
def few(labelled):
    """Some of the labelled crystals of every split, with a crystal that tight binding does not know among them."""
    chosen = np.concatenate([np.flatnonzero(labelled.split == split)[:4] for split in ("train", "valid", "test")])
    part = labelled.take(chosen)
    structures = [
        rock_salt_primitive(5.0 + 0.02 * index, *material_id.split()) for index, material_id in enumerate(NAMES[chosen])
    ]
    structures[3] = rock_salt_primitive(5.5, "Po", "O")
    return replace(part, crystals=Crystals.from_structures(structures))


NAMES = np.array(
    [f"{c} {a}" for c in ("Li", "Na", "K", "Rb", "Mg", "Ca", "Sr", "Ba", "Ti", "V") for a in ("O", "S", "F", "Cl")]
)


def test_a_training_writes_weights_that_predict_and_a_card_that_says_what_they_reach(few, tmp_path):
    path = run_tight_binding(few, SMALL, tmp_path)
    assert path.name == "tight-binding-edos-sumnorm-kl.safetensors"
    card = read_card(path)
    assert card.training["materials"] == {"train": 3, "valid": 4, "test": 4}
    assert card.training["left_out"]["not solvable"] == 1
    assert {"r2", "r2_blind_scale", "wasserstein"} <= set(card.metrics["test"])
    prediction = load_tight_binding(path).predict(few.crystals.take([0, 3]))
    assert prediction.status == ["ok", "failed"]
    assert "atomic number 84" in prediction.reason[1]
    assert np.isfinite(prediction.uncertainty[0]).all()
    assert prediction.relative_error[0] > 0


def test_data_without_their_crystals_are_refused(labelled, tmp_path):
    with pytest.raises(DataError, match="with their crystals"):
        run_tight_binding(labelled, SMALL, tmp_path)


def test_labels_without_spin_are_trained_on_beside_those_with_spin(few, tmp_path):
    with_spin = SMALL.model_copy(update={"model": SMALL.model.model_copy(update={"spin": True})})
    train = np.flatnonzero(few.split == "train")
    others = replace(few.take(train), formulas=np.array([f"{f}x" for f in few.formulas[train]], dtype=object))
    repeated = replace(others, formulas=np.r_[few.formulas[train[:1]], others.formulas[1:]])
    path = run_tight_binding(few, with_spin, tmp_path, unpolarised=repeated)
    assert path.name == "tight-binding-mp-edos-sumnorm-kl.safetensors"
    card = read_card(path)
    assert load_tight_binding(path).name == card.model == "tight-binding-mp"
    assert card.training["materials"]["train, without spin"] == len(others) - 2  # one is unknown, one is there already
    assert card.model_settings["spin"]
    assert set(card.metrics) == {"valid", "test"}
