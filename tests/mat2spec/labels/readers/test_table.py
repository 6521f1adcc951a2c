"""Parquet tables of crystals with spectra, and telling sources apart."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import DataError
from mat2spec.labels.readers import DataKind, data_kind, load_spectra, load_table
from mat2spec.labels.splits import split_of_formula
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID
from mat2spec.tables.files import TableError
from tests.mat2spec.conftest import rock_salt_primitive

GRAPHS = GraphSettings()
SALTS = [("Na", "Cl"), ("K", "Cl"), ("Li", "F")]


def columns(spectra, name="edos", salts=SALTS, **more):
    crystals = Crystals.from_structures([rock_salt_primitive(5.5, *salt) for salt in salts])
    sites = [crystals.sites(index) for index in range(len(salts))]
    return pa.table(
        {
            "material_id": [f"mp-{salt[0]}" for salt in salts],
            "lattice": [lattice.ravel().tolist() for lattice in crystals.lattices],
            "frac_coords": [crystals.frac_coords[s].ravel().tolist() for s in sites],
            "atomic_numbers": [crystals.atomic_numbers[s].tolist() for s in sites],
            name: [list(row) for row in spectra],
        }
        | more
    )


def test_bulk_edos_in_parts_is_one_source(tmp_path):
    pq.write_table(columns(np.full((3, 128), 4.0)), tmp_path / "part-0.parquet")
    pq.write_table(columns([np.full(128, 6.0)], salts=[("Rb", "I")]), tmp_path / "part-1.parquet")
    assert data_kind(tmp_path) is DataKind.TABLE
    data = load_spectra(tmp_path, "edos", GRAPHS)
    assert data.formulas.tolist() == ["NaCl", "KCl", "LiF", "RbI"]
    np.testing.assert_allclose(data.spectra[:, 0], [2, 2, 2, 3])
    assert data.split.tolist() == [split_of_formula(formula) for formula in data.formulas]
    assert set(data.sources) == {"part-0.parquet", "part-1.parquet"}


def test_split_of_the_table_wins_and_phonons_are_scaled(tmp_path):
    table = columns(np.ones((3, 51)), "phdos_51", split=["test", "train", "valid"])
    pq.write_table(table, tmp_path / "phonons.parquet")
    data = load_spectra(tmp_path / "phonons.parquet", "phdos", GRAPHS)
    assert data.split.tolist() == ["test", "train", "valid"]
    np.testing.assert_allclose(data.grid.integrate(data.spectra), 3, rtol=1e-6)


def test_reserved_formulas_are_left_out(tmp_path):
    pq.write_table(columns(np.ones((3, 128)), split=["train", "valid", "test"]), tmp_path / "t.parquet")
    data = load_spectra(tmp_path / "t.parquet", "edos", GRAPHS, reserved={"NaCl", "LiF"})
    assert data.formulas.tolist() == ["KCl", "LiF"]
    assert data.dropped == {"reserved formula": 1}


def test_grid_in_the_metadata_is_obeyed(tmp_path):
    other = replace(EDOS_GRID, first_center=-6.0, last_center=2.0)
    for grid, name in ((EDOS_GRID, "same"), (other, "other")):
        table = columns(np.ones((3, 128))).replace_schema_metadata({"spectral_grid": grid.to_json()})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert len(load_table(tmp_path / "same.parquet", EDOS_GRID, GRAPHS)) == 3
    with pytest.raises(DataError, match="another grid than 'edos'"):
        load_table(tmp_path / "other.parquet", EDOS_GRID, GRAPHS)


@pytest.mark.parametrize("sizes", [(51, 51, 51), (128, 64, 128)])
def test_other_numbers_of_bins_are_refused(tmp_path, sizes):
    pq.write_table(columns([np.ones(size) for size in sizes]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="not all rows of 128 numbers"):
        load_table(tmp_path / "t.parquet", EDOS_GRID, GRAPHS)


def test_missing_columns_unknown_splits_and_damage_are_sentences(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(columns(np.ones((3, 128))), path)
    with pytest.raises(DataError, match="lacks phdos_51"):
        load_table(path, PHDOS_GRID, GRAPHS)
    pq.write_table(columns(np.ones((3, 128)), split=["train", "dev", "test"]), path)
    with pytest.raises(DataError, match=r"split of .* contains dev"):
        load_table(path, EDOS_GRID, GRAPHS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(TableError, match="not a readable Parquet file"):
        load_table(path, EDOS_GRID, GRAPHS)


def test_all_bad_labels_say_why(tmp_path):
    pq.write_table(columns(np.zeros((3, 128))), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="zero everywhere"):
        load_table(tmp_path / "t.parquet", EDOS_GRID, GRAPHS)


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        ("edos_pbe.parquet", DataKind.DATA_FOLDER),
        ("phdos_dfpt.parquet", DataKind.DATA_FOLDER),
        ("label_edos/", DataKind.ARCHIVE),
        ("phdos/", DataKind.ARCHIVE),
        ("structures/", DataKind.FOLDER),
        ("anything.parquet", DataKind.TABLE),
    ],
)
def test_the_kind_follows_from_what_is_there(tmp_path, made, kind):
    if made.endswith("/"):
        (tmp_path / made).mkdir()
    else:
        (tmp_path / made).touch()
    assert data_kind(tmp_path) is kind


def test_nothing_to_train_on_lists_what_could_be(tmp_path):
    with pytest.raises(DataError, match=r"nothing to train on .*label_edos/.*structures/.*MAT2SPEC_DATA_DIR"):
        load_spectra(tmp_path, "edos", GRAPHS)
    (tmp_path / "structures").mkdir()
    with pytest.raises(DataError, match="exist only for the eDOS of the paper's archive"):
        load_spectra(tmp_path, "edos", GRAPHS, materials_class="oxides")
