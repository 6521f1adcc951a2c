"""A folder of structure files with spectra."""

import json

import numpy as np
import pandas as pd
import pytest

from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import DataError
from mat2spec.labels.readers import load_folder
from mat2spec.labels.splits import split_of_formula
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID
from tests.mat2spec.conftest import perovskite, rock_salt, rock_salt_primitive

GRAPHS = GraphSettings()


def spectra_frame(ids, grid=EDOS_GRID):
    values = np.arange(1.0, len(ids) + 1)[:, None] * np.ones(grid.size)
    return pd.DataFrame(values, index=pd.Index(ids, name="material_id"), columns=grid.centers)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "structures"
    place.mkdir()
    rock_salt().to(str(place / "salt.cif"))
    perovskite().to(str(place / "SrVO3.vasp"), fmt="poscar")
    (place / "others.json").write_text(json.dumps({"KCl": rock_salt_primitive(6.3, "K").as_dict()}))
    spectra_frame(["salt", "SrVO3", "KCl"]).to_csv(tmp_path / "spectra.csv")
    return tmp_path


def test_cif_poscar_and_json_are_read_with_their_spectra_per_atom(folder):
    data = load_folder(folder, EDOS_GRID, GRAPHS)
    assert dict(zip(data.material_ids, data.formulas, strict=True)) == {"salt": "NaCl", "SrVO3": "SrVO3", "KCl": "KCl"}
    # The conventional cell of the CIF stays: its spectrum is that of eight atoms.
    np.testing.assert_allclose(data.spectra[:, 0], [1 / 8, 2 / 5, 3 / 2], rtol=1e-6)
    assert data.split.tolist() == [split_of_formula(formula) for formula in data.formulas]
    assert set(data.sources) == {"spectra.csv", "structures"}


def test_array_with_ids_is_the_same_as_the_table(folder):
    of_table = load_folder(folder, EDOS_GRID, GRAPHS)
    frame = spectra_frame(["salt", "SrVO3", "KCl"])
    (folder / "spectra.csv").unlink()
    np.save(folder / "spectra.npy", frame.to_numpy())
    (folder / "ids.txt").write_text("\n".join(frame.index))
    of_array = load_folder(folder, EDOS_GRID, GRAPHS)
    np.testing.assert_array_equal(of_array.spectra, of_table.spectra)
    assert of_array.material_ids.tolist() == of_table.material_ids.tolist()


def test_given_split_wins(folder):
    (folder / "split.csv").write_text("material_id,split\nsalt,valid\nSrVO3,train\nKCl,test\n")
    assert load_folder(folder, EDOS_GRID, GRAPHS).split.tolist() == ["valid", "train", "test"]
    (folder / "split.csv").write_text("material_id,split\nsalt,validation\n")
    with pytest.raises(DataError, match="columns material_id and split, with train, valid, test"):
        load_folder(folder, EDOS_GRID, GRAPHS)


def test_phonons_get_three_modes_per_atom(folder):
    spectra_frame(["salt", "SrVO3", "KCl"], PHDOS_GRID).to_csv(folder / "spectra.csv")
    data = load_folder(folder, PHDOS_GRID, GRAPHS)
    np.testing.assert_allclose(data.grid.integrate(data.spectra), 3, rtol=1e-6)


def test_bad_labels_and_crystals_are_counted_and_the_others_go_on(folder):
    frame = spectra_frame(["salt", "SrVO3", "KCl", "absent", "broken"])
    frame.loc["salt"] = np.nan
    frame.loc["KCl"] = 0.0
    frame.to_csv(folder / "spectra.csv")
    (folder / "structures/broken.cif").write_text("data_nothing")
    data = load_folder(folder, EDOS_GRID, GRAPHS)
    assert data.material_ids.tolist() == ["SrVO3"]
    assert sorted(data.dropped.values()) == [1, 1, 1, 1]
    assert data.dropped["The spectrum contains non-finite numbers."] == 1
    assert data.dropped["The spectrum is zero everywhere."] == 1
    assert data.dropped["It has a spectrum, but no file in structures/."] == 1


@pytest.mark.parametrize(
    ("centers", "message"),
    [
        (np.linspace(-4, 4, 64), "bins of .* are not those of the grid 'edos': 128 centres from -4 to 4 eV"),
        (np.linspace(-5, 5, 128), "are not those of the grid"),
        (["a"] * 128, "cannot be read"),
    ],
)
def test_spectra_on_another_grid_are_refused(folder, centers, message):
    frame = pd.DataFrame(np.ones((1, len(centers))), index=pd.Index(["salt"], name="material_id"), columns=centers)
    frame.to_csv(folder / "spectra.csv")
    with pytest.raises(DataError, match=message):
        load_folder(folder, EDOS_GRID, GRAPHS)


def test_missing_spectra_and_ids_are_sentences(folder):
    (folder / "spectra.csv").unlink()
    with pytest.raises(DataError, match=r"neither spectra\.csv nor spectra\.npy"):
        load_folder(folder, EDOS_GRID, GRAPHS)
    np.save(folder / "spectra.npy", np.ones((3, 128)))
    with pytest.raises(DataError, match=r"without ids\.txt"):
        load_folder(folder, EDOS_GRID, GRAPHS)
    (folder / "ids.txt").write_text("salt\nKCl")
    with pytest.raises(DataError, match=r"shape \(3, 128\); for 2 ids"):
        load_folder(folder, EDOS_GRID, GRAPHS)


def test_nothing_usable_says_why(folder):
    spectra_frame(["absent"]).to_csv(folder / "spectra.csv")
    with pytest.raises(DataError, match=r"No material of .* no file in structures/"):
        load_folder(folder, EDOS_GRID, GRAPHS)


def test_two_spectra_of_one_material_are_refused(folder):
    spectra_frame(["salt", "salt"]).to_csv(folder / "spectra.csv")
    with pytest.raises(DataError, match="several spectra for salt"):
        load_folder(folder, EDOS_GRID, GRAPHS)
