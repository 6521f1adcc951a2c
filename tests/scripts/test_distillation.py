import numpy as np

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import assemble_spectra
from mat2spec.spectra.grids import EDOS_GRID
from scripts.distillation.student import with_labels
from scripts.distillation.teacher import Taught, read_taught, write_taught
from tests.mat2spec.conftest import rock_salt


def test_what_was_taught_is_read_back_in_the_order_of_the_population(tmp_path):
    spectra = np.random.default_rng(0).random((2, 128)).astype(np.float16)
    write_taught(tmp_path / "taught.npz", [Taught(7, spectra[0], 0.5, 0.25), Taught(3, spectra[1], 0.0, 1.0)])
    first, second = read_taught(tmp_path / "taught.npz")
    assert (first.index, first.band_gap_ev, first.metal_share) == (3, 0.0, 1.0)
    assert (second.index, second.band_gap_ev, second.metal_share) == (7, 0.5, 0.25)
    assert np.array_equal(np.stack([second.spectrum, first.spectrum]), spectra)


def spectra(name, splits):
    crystals = Crystals.from_structures([rock_salt()] * len(splits))
    return assemble_spectra(
        name,
        crystals,
        np.array([f"{name}{index}" for index in range(len(splits))], dtype=object),
        np.ones((len(splits), EDOS_GRID.size)),
        np.array(splits, dtype=object),
        EDOS_GRID,
        GraphSettings(),
        {},
    )


def test_a_student_learns_from_the_training_labels_alone():
    labels = spectra("label", ["train", "valid", "calibration", "test_random", "train"])
    joined = with_labels([spectra("real", ["train", "valid"]), spectra("hypothetical", ["train"])], labels)
    assert joined.formulas.tolist() == ["real0", "real1", "hypothetical0", *["label0", "label4"] * 4]
    assert joined.part("valid").formulas.tolist() == ["real1"]
    assert "2 computed labels 4 times" in joined.name
