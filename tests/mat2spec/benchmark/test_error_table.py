from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mat2spec.benchmark.data import held_out_ids
from mat2spec.benchmark.ensembles import Judged
from mat2spec.benchmark.error_table import (
    FOURIER_BANDS,
    describe_materials,
    error_table,
    fourier_shares,
    material_figures,
    write_error_table,
)
from mat2spec.benchmark.evaluation import phonon_contributions
from mat2spec.graphs.settings import GraphSettings
from mat2spec.spectra.grids import PHDOS_GRID
from mat2spec.spectra.metrics import wasserstein_distances


def judged(data, name, shift):
    """A model that knows every spectrum but for a shift by some bins."""
    labelled = data.load(GraphSettings())
    ids = held_out_ids(labelled)
    spectra = {split: (np.roll(labelled.part(split).spectra, shift, axis=1).astype(float), None) for split in ids}
    result = {"contender": name, "model": name, "setting": "sumnorm-kl", "n_members": 1, "material_ids": ids}
    return Judged(result, spectra)


def test_table_has_a_row_for_each_model_and_test_material(data):
    table = error_table([judged(data, "perfect", 0), judged(data, "shifted", 1)], data)
    assert table.groupby("contender").size().to_dict() == {"perfect": 7, "shifted": 7}
    perfect, shifted = (table[table["contender"] == name].reset_index() for name in ("perfect", "shifted"))
    assert perfect["error"].max() == pytest.approx(0, abs=1e-12)
    assert (shifted["error"] > 0.01).all()
    labels = data.load(GraphSettings()).part("test")
    expected = wasserstein_distances(labels.spectra, np.roll(labels.spectra, 1, axis=1), labels.grid)
    np.testing.assert_allclose(shifted["wasserstein_cm1"], expected, rtol=1e-5)
    windows = shifted[[f"error_window_{number}" for number in range(1, 5)]].sum(axis=1)
    np.testing.assert_allclose(windows, shifted["error"])
    for prefix in ("fourier", "error_fourier"):
        np.testing.assert_allclose(shifted[[f"{prefix}_{band}" for band in FOURIER_BANDS]].sum(axis=1), 1)


def test_materials_are_described_with_what_is_trained_on(data):
    labelled = data.load(GraphSettings())
    table = describe_materials(labelled).set_index("material_id")
    assert (table["space_group"] == 225).all(), "all are rock salts"
    assert (table["prototype"] == "AB_225").all()
    n_train = int((labelled.split == "train").sum())
    assert (table["n_train_prototype"] == n_train).all()
    assert (table["n_train_space_group"] == n_train).all()
    assert (table["n_elements"] == 2).all()
    assert (table["n_sites"] == labelled.n_atoms).all()
    trained = table[labelled.split == "train"]
    test = table[labelled.split == "test"].iloc[0]
    containing = [
        sum(symbol in system.split("-") for system in trained["chemical_system"])
        for symbol in test["chemical_system"].split("-")
    ]
    assert test["n_train_rarest_element"] == min(containing)
    assert (trained["n_train_chemical_system"] == 1).all(), "each of another formula"


def test_error_is_the_share_of_states_in_wrong_bins():
    true, predicted = np.zeros((2, PHDOS_GRID.size)), np.zeros((2, PHDOS_GRID.size))
    true[:, 3], predicted[0, 40], predicted[1, [3, 40]] = 2.0, 5.0, [3.0, 1.0]
    labels = SimpleNamespace(spectra=true, grid=PHDOS_GRID, n_atoms=np.array([2, 2]))
    sigma = np.full_like(true, 0.1)
    figures = material_figures(predicted, sigma, labels, phonon_contributions(predicted, labels))
    np.testing.assert_allclose(figures["error"], [1.0, 0.25])
    np.testing.assert_allclose(figures["expected_error"], 0.5 * 0.1 * PHDOS_GRID.size / predicted.sum(axis=1))
    assert figures["error_window_1"].tolist() == pytest.approx([0.5, 0.125])
    assert figures["mae_blind"].tolist() == pytest.approx([2 / PHDOS_GRID.size, 1 / 3 / PHDOS_GRID.size])


def test_fourier_shares_of_single_waves():
    positions = (np.arange(128) + 0.5) / 128
    waves = np.stack([5 + np.cos(np.pi * k * positions) for k in (3, 10, 60)] + [np.ones(128)])
    shares = fourier_shares(waves)
    np.testing.assert_allclose(np.column_stack([shares[band] for band in FOURIER_BANDS])[:3], np.eye(3), atol=1e-12)
    assert all(np.isnan(share[3]) for share in shares.values()), "a constant curve has no component"


def test_rows_of_other_models_stay_and_those_of_other_materials_go(data, tmp_path):
    path = tmp_path / "errors.parquet"
    write_error_table(path, error_table([judged(data, "first", 1), judged(data, "second", 2)], data))
    write_error_table(path, error_table([judged(data, "second", 3)], data))
    table = pd.read_parquet(path)
    assert table.groupby("contender").size().to_dict() == {"first": 7, "second": 7}
    newer = error_table([judged(data, "third", 3)], data).iloc[1:]
    write_error_table(path, newer)
    assert set(pd.read_parquet(path)["contender"]) == {"third"}
