"""Data sets, on small tables made here in the layout of the real ones."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import reduced_formulas
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.edos_store import LATER_COLUMNS, STORE_SCHEMA
from mat2spec.labels.labelled import DataError
from mat2spec.labels.readers.data_folder import load_edos, load_phdos
from mat2spec.labels.splits import split_of_formula
from mat2spec.settings import Level, shipped_stores
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.files import TableError
from tests.mat2spec.conftest import rock_salt, rock_salt_primitive

GRAPHS = GraphSettings()
SALTS = [("Na", "Cl"), ("K", "Cl"), ("Li", "F"), ("Mg", "O"), ("Ca", "O"), ("Rb", "I")]


def crystal_columns(ids, salts):
    crystals = Crystals.from_structures([rock_salt_primitive(5.5, *salt) for salt in salts])
    return {
        "material_id": ids,
        "formula": ["".join(salt) for salt in salts],
        "lattice": [lattice.ravel().tolist() for lattice in crystals.lattices],
        "frac_coords": [crystals.frac_coords[crystals.sites(i)].ravel().tolist() for i in range(len(salts))],
        "atomic_numbers": [crystals.atomic_numbers[crystals.sites(i)].tolist() for i in range(len(salts))],
    }


def write(folder, name, columns):
    pq.write_table(pa.table(columns), folder / name)


@pytest.fixture
def folder(tmp_path):
    bump = np.exp(-(((np.arange(51) - 10) / 3) ** 2))
    dfpt = crystal_columns(["mp-1", "mp-2", "mp-3"], SALTS[:3])
    write(tmp_path, "phdos_dfpt.parquet", dfpt | {"phdos_51": [bump] * 3, "split": ["train", "valid", "test"]})
    # mp-9 shares the formula of the validation material, mp-1 is in the small set, mp-6 is unstable, mp-7 reserved.
    large = crystal_columns(["mp-9", "mp-1", "mp-5", "mp-6", "mp-7"], [SALTS[1], SALTS[0], *SALTS[3:]])
    fine = np.zeros(400)
    fine[20:30] = 0.15
    write(
        tmp_path,
        "phdos_finite_displacement.parquet",
        large | {"phdos_4cm1": [fine] * 5, "imaginary_fraction": [0, 0, 0, 0.2, 0]},
    )
    write(tmp_path, "mp_structures.parquet", {"material_id": ["mp-7", "mp-8"], "formula": ["RbI", "NaCl"]})
    (tmp_path / "reserved_ids.txt").write_text("mp-7\n")
    return tmp_path


def edos_table(folder, spectra, salts=SALTS[:3]):
    ids = [f"mp-{i}" for i in range(len(salts))]
    write(folder, "edos_pbe.parquet", crystal_columns(ids, salts) | {"edos": spectra})


def edos_store(path, ids, salts, **changes):
    """A store of spectra of ones, with some columns changed."""
    columns = crystal_columns(ids, salts) | {"edos": [np.ones(128)] * len(ids), "nsites": [2] * len(ids)}
    level = {"functional": "PBE", "spin": "unpolarised", "u_values": "{}"}
    for field in STORE_SCHEMA:
        if field.name not in LATER_COLUMNS:
            empty = 0 if pa.types.is_floating(field.type) or pa.types.is_boolean(field.type) else ""
            columns.setdefault(field.name, [level.get(field.name, empty)] * len(ids))
    columns |= {name: pa.nulls(len(ids), STORE_SCHEMA.field(name).type) for name in LATER_COLUMNS}
    table = pa.table(columns | changes).select(STORE_SCHEMA.names).cast(STORE_SCHEMA)
    pq.write_table(table.replace_schema_metadata({"spectral_grid": EDOS_GRID.to_json()}), path)
    return path


def test_pretraining_leaks_neither_held_out_formulas_nor_reserved_ones(folder):
    data = load_phdos(folder, GRAPHS)
    assert dict(zip(data.material_ids, data.split, strict=True)) == {
        "mp-1": "train",
        "mp-2": "valid",
        "mp-3": "test",
        "mp-5": "train",
    }
    assert data.dropped == {
        "1 % imaginary modes or more": 1,
        "shared with the DFPT set": 2,
        "reserved formula": 1,
    }
    assert set(data.sources) == {"phdos_dfpt.parquet", "phdos_finite_displacement.parquet"}


def test_phonon_spectra_hold_three_modes_per_atom_at_their_frequencies(folder):
    data = load_phdos(folder, GRAPHS)
    np.testing.assert_allclose(data.grid.integrate(data.spectra), 3, rtol=1e-5)
    # 4 cm-1 bins 20..29 lie at 80..120 cm-1.
    mean = (data.spectra[3] * data.grid.centers).sum() / data.spectra[3].sum()
    assert mean == pytest.approx(100, abs=1)


def test_small_set_alone_is_the_published_split(folder):
    assert load_phdos(folder, GRAPHS, pretraining=False).split.tolist() == ["train", "valid", "test"]


def test_edos_is_per_atom_and_bad_labels_are_counted(folder):
    bad = np.ones(128)
    bad[3] = np.nan
    edos_table(folder, [np.ones(128), bad, np.zeros(128)])
    data = load_edos(folder, GRAPHS, [])
    assert data.material_ids.tolist() == ["mp-0"]
    np.testing.assert_array_equal(data.spectra, np.full((1, 128), 0.5, dtype=np.float32))
    assert data.dropped == {
        "The spectrum contains non-finite numbers.": 1,
        "The spectrum is zero everywhere.": 1,
    }


def test_label_of_a_reserved_formula_is_refused(folder):
    edos_table(folder, [np.ones(128)], [("Rb", "I")])
    with pytest.raises(DataError, match=r"1 materials whose formula is reserved .*RbI"):
        load_edos(folder, GRAPHS, [])


def test_reserved_id_without_a_formula_is_refused(folder):
    (folder / "reserved_ids.txt").write_text("mp-7\nmp-77\n")
    edos_table(folder, [np.ones(128)] * 3)
    with pytest.raises(DataError, match=r"1 ids of reserved_ids\.txt are not in"):
        load_edos(folder, GRAPHS, [])


def test_spectrum_on_another_grid_is_refused(folder):
    edos_table(folder, [np.ones(51)] * 3)
    with pytest.raises(ValueError, match="has 128 bins"):
        load_edos(folder, GRAPHS, [])


def test_missing_data_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"phdos_dfpt.parquet are not in .*MAT2SPEC_DATA_DIR"):
        load_phdos(tmp_path, GRAPHS)


def test_split_depends_on_the_reduced_formula_alone():
    crystals = Crystals.from_structures([rock_salt(), rock_salt() * (2, 1, 1), rock_salt(6.3, "K")])
    formulas = reduced_formulas(crystals)
    assert formulas.tolist() == ["NaCl", "NaCl", "KCl"]
    draws = [split_of_formula(f"X{i}") for i in range(3000)]
    assert 0.77 < draws.count("train") / 3000 < 0.83
    assert 0.08 < draws.count("test") / 3000 < 0.12


# Formulas by the split that the hash puts them into.
SPLIT_SALTS = {
    split: [
        (c, a)
        for c in ("Na", "K", "Cs", "Li", "Ag", "Tl")
        for a in ("F", "Cl", "Br", "I", "H")
        if split_of_formula(c + a) == split
    ]
    for split in ("train", "valid", "test")
}


def test_table_and_stores_are_read_together_and_share_no_formula_between_splits(folder, tmp_path):
    test_salt, *train_salts = SPLIT_SALTS["test"][0], *SPLIT_SALTS["train"][:3]
    edos_table(folder, [np.ones(128)] * 2, [test_salt, train_salts[0]])
    salts = [test_salt, *train_salts, SPLIT_SALTS["valid"][0]]
    store = edos_store(tmp_path / "store.parquet", [f"cat-{i}" for i in range(5)], salts)
    data = load_edos(folder, GRAPHS, [store])
    assert data.split.tolist() == ["test", "train", "store_test", "train", "train", "train", "valid"]
    assert data.name == "GPAW PBE eDOS + labels of store.parquet"
    held_out = {formula for formula, split in zip(data.formulas, data.split, strict=True) if split != "train"}
    assert held_out.isdisjoint(data.part("train").formulas)
    # The held-out test of the table stays what it is, whatever is added.
    assert data.part("test").material_ids.tolist() == load_edos(folder, GRAPHS, []).part("test").material_ids.tolist()
    np.testing.assert_array_equal(data.spectra, np.full((7, 128), 0.5, dtype=np.float32))
    assert set(data.sources) == {"edos_pbe.parquet", "store.parquet"}


def test_a_store_alone_is_enough(tmp_path):
    salts = [SPLIT_SALTS[split][0] for split in ("train", "valid", "test")]
    store = edos_store(tmp_path / "store.parquet", ["a", "b", "c"], salts)
    assert load_edos(None, GRAPHS, [store]).split.tolist() == ["train", "valid", "test"]


def test_the_shipped_store_is_read_unless_others_are_given(tmp_path, monkeypatch):
    monkeypatch.setattr("mat2spec.settings.SHIPPED_STORE", tmp_path / "shipped.parquet")
    monkeypatch.setattr("mat2spec.settings.SHIPPED_SHARDS", tmp_path / "shards")
    with pytest.raises(DataError, match=r"no electronic densities of states to train on.* --data"):
        load_edos(None, GRAPHS)
    edos_store(tmp_path / "shipped.parquet", ["a"], SALTS[:1])
    assert load_edos(None, GRAPHS).material_ids.tolist() == ["a"]


def test_the_shipped_shards_are_read_too(tmp_path, monkeypatch):
    monkeypatch.setattr("mat2spec.settings.SHIPPED_STORE", tmp_path / "shipped.parquet")
    monkeypatch.setattr("mat2spec.settings.SHIPPED_SHARDS", tmp_path / "shards")
    edos_store(tmp_path / "shipped.parquet", ["a"], SALTS[:1])
    (tmp_path / "shards").mkdir()
    assert shipped_stores() == [tmp_path / "shipped.parquet", tmp_path / "shards"]


def test_other_levels_of_theory_and_repeated_materials_are_left_out(tmp_path):
    first = edos_store(tmp_path / "first.parquet", ["a", "b"], SALTS[:2], spin=["unpolarised", "polarised"])
    (tmp_path / "other").mkdir()
    second = edos_store(tmp_path / "other" / "first.parquet", ["a", "c"], [SALTS[0], SALTS[2]])
    data = load_edos(None, GRAPHS, [first, second])
    assert data.material_ids.tolist() == ["a", "c"]
    assert data.dropped == {"another level of theory": 1, "labelled more than once": 1}
    assert len(data.sources) == 2
    only_polarised = edos_store(tmp_path / "polarised.parquet", ["b"], SALTS[:1], spin=["polarised"])
    with pytest.raises(DataError, match="no label at the level of this training"):
        load_edos(None, GRAPHS, [only_polarised])


def test_a_reserved_formula_in_a_store_is_refused(folder, tmp_path):
    edos_table(folder, [np.ones(128)] * 3)
    store = edos_store(tmp_path / "store.parquet", ["a"], [("Rb", "I")])
    with pytest.raises(DataError, match=r"store\.parquet labels 1 materials whose formula is reserved .*RbI"):
        load_edos(folder, GRAPHS, [store])


def test_a_table_that_is_not_a_store_is_refused(folder):
    with pytest.raises(TableError, match=r"mp_structures\.parquet lacks the column"):
        load_edos(None, GRAPHS, [folder / "mp_structures.parquet"])


def test_labels_left_out_for_the_same_reason_are_added_up(folder, tmp_path):
    edos_table(folder, [np.ones(128), np.zeros(128)], SALTS[:2])
    store = edos_store(tmp_path / "store.parquet", ["a", "b"], SALTS[2:4], edos=[np.zeros(128), np.ones(128)])
    assert load_edos(folder, GRAPHS, [store]).dropped == {"The spectrum is zero everywhere.": 2}


def planned_store(path, labels):
    """Labels of a plan: id, salt and part each."""
    ids, salts, parts = zip(*labels, strict=True)
    return edos_store(path, list(ids), list(salts), level=["mp"] * len(ids), selected_as=list(parts))


def test_labels_of_a_plan_have_test_sets_of_their_own_beside_the_older_ones(folder, tmp_path):
    salts = [SPLIT_SALTS[split][0] for split in ("train", "valid", "test")]
    old = edos_store(tmp_path / "old.parquet", ["a", "b", "c"], salts)
    labels = [("mp-20", ("Na", "F"), "rare_elements"), ("mp-21", ("Na", "Cl"), "random")]
    new = planned_store(tmp_path / "new.parquet", labels)
    data = load_edos(None, GRAPHS, [old, new])
    assert dict(zip(data.material_ids, data.split, strict=True))["mp-20"] == "test_rare_elements"
    assert data.part("train").material_ids.tolist().count("mp-21") == 1
    assert data.part("test").material_ids.tolist() == load_edos(None, GRAPHS, [old]).part("test").material_ids.tolist()


def test_older_labels_of_a_test_formula_are_not_trained_on_beside_a_plan(folder, tmp_path):
    assert split_of_formula("NaF") == "train"
    old = edos_store(tmp_path / "old.parquet", ["a", "b"], [("Na", "F"), ("Na", "Cl")])
    assert load_edos(None, GRAPHS, [old]).split.tolist() == ["train", "train"]
    new = planned_store(tmp_path / "new.parquet", [("mp-20", ("Na", "F"), "random")])
    data = load_edos(None, GRAPHS, [old, new])
    assert data.material_ids.tolist() == ["b", "mp-20"]
    assert data.split.tolist() == ["train", "test_random"]
    assert data.dropped["formula or prototype of a test set"] == 1


def test_old_test_materials_stay_at_any_level(folder, tmp_path):
    salts = [(metal, anion) for metal in ("Fe", "Mn", "Cr", "Ni", "Co") for anion in ("O", "S", "Se", "Te", "P", "N")]
    store = edos_store(tmp_path / "old.parquet", [f"a{i}" for i in range(len(salts))], salts)
    tested = load_edos(None, GRAPHS, [store]).part("test").material_ids.tolist()
    assert tested
    assert load_edos(None, GRAPHS, [store], Level.MP).material_ids.tolist() == tested
