"""Crystals in the files of ASE, in Parquet, in the JSON of matbench, compressed; folders and patterns."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import polars as pl
import pytest
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import write
from pymatgen.io.ase import AseAtomsAdaptor

from mat2spec.crystals.readers import expand_paths, read_structures

COPPER, SALT = bulk("Cu", "fcc", a=3.6), bulk("NaCl", "rocksalt", a=5.69)
STRUCTURES = [AseAtomsAdaptor.get_structure(atoms) for atoms in (COPPER, SALT)]


def formulas(*paths):
    return {entry.key: entry.structure.reduced_formula for entry in read_structures(paths)}


@pytest.mark.parametrize("name", ["two.extxyz", "two.xyz", "two.traj"])
def test_frames_of_ase(tmp_path, name):
    write(tmp_path / name, [COPPER, SALT])
    assert formulas(tmp_path / name) == {"1": "Cu", "2": "NaCl"}


@pytest.mark.parametrize("name", ["a.db", "a.json"])
def test_databases_of_ase_name_their_rows(tmp_path, name):
    with connect(tmp_path / name) as database:
        database.write(COPPER, name="copper")
        database.write(SALT)
    assert formulas(tmp_path / name) == {"copper": "Cu", "2": "NaCl"}


def test_a_molecule_is_a_row_with_its_reason(tmp_path):
    write(tmp_path / "a.extxyz", [COPPER, molecule("H2O")])
    good, bad = read_structures([tmp_path / "a.extxyz"])
    assert good.structure is not None
    assert bad.structure is None
    assert "not periodic in all three directions" in bad.reason


@pytest.mark.parametrize("name", ["matbench.json", "matbench.json.gz"])
def test_json_as_matbench_publishes_it(tmp_path, name):
    rows = [[STRUCTURES[0].as_dict(), 1.0], [STRUCTURES[1].as_dict(), 2.0]]
    text = json.dumps({"index": ["mb-1", "mb-2"], "columns": ["structure", "gap"], "data": rows})
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    assert formulas(tmp_path / name) == {"mb-1": "Cu", "mb-2": "NaCl"}


def write_columns(path, writer):
    columns = {
        "material_id": ["a", "b"],
        "lattice": [structure.lattice.matrix.tolist() for structure in STRUCTURES],
        "frac_coords": [structure.frac_coords.tolist() for structure in STRUCTURES],
        "atomic_numbers": [list(structure.atomic_numbers) for structure in STRUCTURES],
    }
    pl.DataFrame(columns).write_parquet(path) if writer == "polars" else pd.DataFrame(columns).to_parquet(path)


@pytest.mark.parametrize("writer", ["polars", "pandas"])
def test_parquet_with_nested_columns(tmp_path, writer):
    write_columns(tmp_path / "crystals.parquet", writer)
    assert formulas(tmp_path / "crystals.parquet") == {"a": "Cu", "b": "NaCl"}


def test_parquet_with_whole_structures(tmp_path):
    texts = [json.dumps(structure.as_dict()) for structure in STRUCTURES]
    pl.DataFrame({"structure": [*texts, "{}"]}).write_parquet(tmp_path / "a.parquet")
    good, _, bad = read_structures([tmp_path / "a.parquet"])
    assert good.structure.reduced_formula == "Cu"
    assert "not a crystal" in bad.reason


def test_folders_and_patterns_are_the_files_in_them(tmp_path):
    (tmp_path / "deep").mkdir()
    STRUCTURES[0].to(filename=str(tmp_path / "deep" / "CONTCAR"), fmt="poscar")
    STRUCTURES[1].to(filename=str(tmp_path / "salt.cif"))
    (tmp_path / "notes.txt").write_text("nothing")
    both = [tmp_path / "deep" / "CONTCAR", tmp_path / "salt.cif"]
    assert expand_paths([tmp_path]) == both
    assert expand_paths([tmp_path / "**" / "CONTCAR"]) == both[:1]
    assert expand_paths([tmp_path / "*.nothing"]) == [tmp_path / "*.nothing"]
    assert [entry.structure.reduced_formula for entry in read_structures([tmp_path])] == ["Cu", "NaCl"]


def test_damage_is_reported_in_a_sentence(tmp_path):
    (tmp_path / "a.extxyz").write_text("not a number\n")
    (tmp_path / "a.db").write_bytes(b"SQLite format 3\x00 and nothing more")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing more")
    (tmp_path / "empty").mkdir()
    names = ("a.extxyz", "a.db", "a.parquet", "empty")
    for name in names:
        (entry,) = read_structures([tmp_path / name])
        assert entry.structure is None
        assert entry.reason.endswith(".")
        assert "Traceback" not in entry.reason
