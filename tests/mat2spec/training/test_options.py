"""Classes of materials, fine-tuning, learning curves."""

import csv
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.building import build_graphs
from mat2spec.labels.labelled import DataError
from mat2spec.models.checkpoints import WeightsError, load_weights, read_card
from mat2spec.spectra.grids import PHDOS_GRID
from mat2spec.training.learning_curve import training_part
from mat2spec.training.loop import TrainingError
from mat2spec.training.options import TrainingOptions
from mat2spec.training.runs import run_training, starting_settings, train_edos
from mat2spec.training.settings import TrainingSettings
from mat2spec.training.subclass import Subclass, select
from tests.mat2spec.conftest import SMALL_SIZES, perovskite, rock_salt_primitive
from tests.mat2spec.labels.readers.test_table import columns

SETTINGS = TrainingSettings(
    model="gatgnn", model_settings=SMALL_SIZES["gatgnn"], epochs=2, batch_size=9, accelerator="cpu", learning_rate=3e-3
)


@pytest.fixture
def four_salts(labelled):
    crystals = Crystals.from_structures(
        [rock_salt_primitive(), rock_salt_primitive(5.0, "K", "F"), perovskite(), perovskite(3.9, ("Ba", "Ti", "O"))]
    )
    formulas = np.array(["NaCl", "KF", "SrVO3", "BaTiO3"], dtype=object)
    few = labelled.take(np.arange(4))
    return replace(few, formulas=formulas, crystals=crystals, graphs=build_graphs(crystals)[0])


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        ({"elements": ("O",)}, ["SrVO3", "BaTiO3"]),
        ({"elements": ("O", "V")}, ["SrVO3"]),
        ({"exclude_elements": ("O", "K")}, ["NaCl"]),
        ({"n_elements": 2}, ["NaCl", "KF"]),
        ({"space_group": 225}, ["NaCl", "KF"]),
        ({"space_group": 221, "exclude_elements": ("Ti",)}, ["SrVO3"]),
        ({}, ["NaCl", "KF", "SrVO3", "BaTiO3"]),
    ],
)
def test_class_of_materials_is_chosen(four_salts, conditions, left):
    assert select(four_salts, Subclass(**conditions)).formulas.tolist() == left


def test_empty_class_unknown_element_and_missing_crystals_are_sentences(four_salts):
    with pytest.raises(DataError, match=r"None of the 4 materials .*'elements': \['Xe'\]"):
        select(four_salts, Subclass(elements=("Xe",)))
    with pytest.raises(ValidationError, match="unknown element Xx"):
        Subclass(elements=("Xx",))
    with pytest.raises(DataError, match="space groups are unknown"):
        select(replace(four_salts, crystals=None), Subclass(space_group=225))


def test_fine_tuning_continues_from_all_weights_with_a_fifth_of_the_rate(labelled, tmp_path):
    donor = run_training(labelled, SETTINGS, tmp_path / "donor")
    oxides = select(labelled, Subclass(exclude_elements=("Cl",)))
    options = TrainingOptions(fine_tune_from=donor)
    settings = starting_settings(TrainingSettings(epochs=1, accelerator="cpu", learning_rate=3e-3), options)
    assert settings.model == "gatgnn"
    assert settings.learning_rate == pytest.approx(6e-4)
    path = run_training(oxides, settings, tmp_path / "tuned", fine_tune_from=donor)
    tuned, card = load_weights(path)
    before = load_weights(donor)[0]
    # Statistics of the first training stay, weights move a little.
    np.testing.assert_array_equal(tuned.target_mean, before.target_mean)
    moved = max(
        float((new - old).detach().abs().max())
        for new, old in zip(tuned.parameters(), before.parameters(), strict=True)
    )
    assert 0 < moved < 0.1
    assert card.training["fine_tuned_from"] == donor.name
    assert card.training["before_fine_tuning"]["valid"]["n"] == card.metrics["valid"]["n"]
    assert "exclude_elements" in card.training["data"]


def test_fine_tuning_on_another_spectrum_or_with_another_encoder_is_refused(labelled, tmp_path):
    donor = run_training(labelled, SETTINGS, tmp_path / "donor")
    settings = starting_settings(SETTINGS, TrainingOptions(fine_tune_from=donor))
    phonons = replace(labelled, grid=PHDOS_GRID, spectra=labelled.spectra[:, :51])
    with pytest.raises(WeightsError, match="grid 'edos', the data are on 'phdos'"):
        run_training(phonons, settings, tmp_path / "other", fine_tune_from=donor)
    with pytest.raises(TrainingError, match="leave out the weights of an encoder"):
        run_training(labelled, settings, tmp_path / "both", donor, fine_tune_from=donor)


def test_smaller_training_parts_are_within_larger_ones(labelled):
    parts = [training_part(labelled, fraction, seed=3) for fraction in (0.01, 0.25, 0.5, 1)]
    ids = [set(part.material_ids[part.split == "train"]) for part in parts]
    assert [len(chosen) for chosen in ids] == [2, 7, 14, 28]
    assert all(small < large for small, large in pairwise(ids))
    assert all((part.split != "train").sum() == 12 for part in parts)


@pytest.fixture
def table(labelled, tmp_path):
    pairs = [(c, a) for c in ("Li", "Na", "K", "Rb", "Mg", "Ca", "Sr", "Ba", "Ti", "V") for a in ("O", "S", "F", "Cl")]
    ids = [f"{c}{a}" for c, a in pairs]
    made = columns(labelled.spectra * 2, salts=pairs, split=labelled.split.tolist())
    path = tmp_path / "table.parquet"
    pq.write_table(made.set_column(0, "material_id", [ids]), path)
    return path


def test_learning_curve_trains_on_growing_parts_and_resumes_after_an_interruption(table, tmp_path):
    options = TrainingOptions(fractions=(1.0, 0.25))
    epochs = []
    path = train_edos(table, SETTINGS, tmp_path / "run", None, lambda line: epochs.append(line["epoch"]), (), options)
    assert path.parent.name == "part-1"
    rows = list(csv.DictReader((tmp_path / "run/learning_curve.csv").open()))
    assert [(row["split"], int(row["n_train"])) for row in rows] == [
        ("valid", 7),
        ("test", 7),
        ("valid", 28),
        ("test", 28),
    ]
    assert (tmp_path / "run/learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert epochs == [1, 2, 1, 2]
    train_edos(table, SETTINGS, tmp_path / "run", None, lambda line: epochs.append(line["epoch"]), (), options)
    assert epochs == [1, 2, 1, 2]
    assert read_card(path).training["materials"]["train"] == 28


def test_learning_curve_refuses_invalid_parts_and_several_devices(table, tmp_path):
    with pytest.raises(DataError, match="above 0 and at most 1"):
        train_edos(table, SETTINGS, tmp_path, None, None, (), TrainingOptions(fractions=(0.5, 2)))
    two = SETTINGS.model_copy(update={"devices": 2})
    with pytest.raises(TrainingError, match="trained on one device"):
        train_edos(table, two, tmp_path, None, None, (), TrainingOptions(fractions=(0.5,)))


def test_class_of_a_table_by_space_group(table, tmp_path):
    options = TrainingOptions(subclass=Subclass(space_group=225, elements=("O", "Ti")))
    with pytest.raises(TrainingError, match="at least two of each"):
        train_edos(table, SETTINGS, tmp_path / "oxides", None, None, (), options)
    chlorine_free = TrainingOptions(subclass=Subclass(space_group=225, exclude_elements=("Cl",)))
    path = train_edos(table, SETTINGS, tmp_path / "run", None, None, (), chlorine_free)
    assert sum(read_card(path).training["materials"].values()) == 30
