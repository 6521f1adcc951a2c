"""Labels to learn from that are damaged, of another kind or listed twice: a row less or a sentence, never another label."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import DataError
from mat2spec.labels.readers.folder import load_folder
from mat2spec.labels.readers.table import load_table
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.files import TableError, read_words
from tests.robustness.crystal_texts import salt_dict
from tests.robustness.test_crystal_columns import FLAT, table
from tests.robustness.test_damaged_files import array_file

SPECTRA = np.linspace(1, 2, 2 * EDOS_GRID.size).reshape(2, -1)
ROWS = SPECTRA.tolist()


def read_table(folder, **columns):
    plain = {"edos": pa.array(ROWS), "split": pa.array(["train", "test"])}
    pq.write_table(table(**(plain | columns)), folder / "x.parquet")
    return load_table(folder / "x.parquet", EDOS_GRID, GraphSettings())


# Columns, why the first row is left out.
LEFT_OUT = {
    "no spectrum": ({"edos": pa.array([None, ROWS[1]])}, "non-finite"),
    "infinite": ({"edos": pa.array([[float("inf")] * EDOS_GRID.size, ROWS[1]])}, "non-finite"),
    "too large for single precision": ({"edos": pa.array([[1e308] * EDOS_GRID.size, ROWS[1]])}, "non-finite"),
    "negative": ({"edos": pa.array([(-SPECTRA[0]).tolist(), ROWS[1]])}, "negative"),
    "no crystal": ({"lattice": pa.array([None, FLAT])}, "no lattice"),
    "no name": ({"material_id": pa.array([None, "mp-1"])}, "no material_id"),
}
REFUSED_TABLES = {
    "flags": ({"edos": pa.array([[True] * EDOS_GRID.size] * 2)}, "bool where real numbers belong"),
    "dates": ({"edos": pa.array([[0] * EDOS_GRID.size] * 2, type=pa.list_(pa.date32()))}, "where real numbers belong"),
    "words": ({"edos": pa.array([["a"] * EDOS_GRID.size] * 2)}, "could not convert"),
    "numbers": ({"edos": pa.array([1.0, 2.0])}, "not all rows of 128 numbers"),
    "another length": ({"edos": pa.array([ROWS[0][:5], ROWS[1]])}, "not all rows of 128 numbers"),
    "a material in two splits": ({"material_id": pa.array(["a", "a"])}, "a is listed twice"),
    "another split": ({"split": pa.array(["Train", "test"])}, "contains Train"),
    "no split": ({"split": pa.array(["train", None])}, "contains None"),
}


@pytest.mark.parametrize(("columns", "words"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_label_that_cannot_be_used_is_counted_with_its_reason(tmp_path, columns, words):
    data = read_table(tmp_path, **columns)
    assert data.material_ids.tolist() == ["mp-1"]
    ((reason, count),) = data.dropped.items()
    assert words in reason
    assert count == 1


@pytest.mark.parametrize(("columns", "words"), REFUSED_TABLES.values(), ids=REFUSED_TABLES)
def test_a_table_of_something_else_is_refused(tmp_path, columns, words):
    with pytest.raises(DataError, match=words):
        read_table(tmp_path, **columns)


def test_tables_of_different_types_are_refused_together(tmp_path):
    for name, kind in (("a", pa.float64()), ("b", pa.float32())):
        pq.write_table(table(edos=pa.array(ROWS, type=pa.list_(kind))), tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match="columns of different types"):
        load_table(tmp_path, EDOS_GRID, GraphSettings())


def test_a_column_twice_is_refused(tmp_path):
    plain = table(edos=pa.array(ROWS))
    both = pa.Table.from_arrays([*plain.columns, plain["edos"]], names=[*plain.column_names, "edos"])
    pq.write_table(both, tmp_path / "x.parquet")
    with pytest.raises(TableError, match="two columns called edos"):
        load_table(tmp_path / "x.parquet", EDOS_GRID, GraphSettings())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "structures").mkdir()
    for name in ("a.json", "b.json"):
        (tmp_path / "structures" / name).write_text(json.dumps(salt_dict()))
    np.save(tmp_path / "spectra.npy", SPECTRA)
    (tmp_path / "ids.txt").write_text("a\nb\n")
    return tmp_path


def read_folder(folder):
    return load_folder(folder, EDOS_GRID, GraphSettings())


def packed(folder):
    (folder / "structures" / "a.json").unlink()
    (folder / "structures" / "a.json.gz").write_bytes(gzip.compress(json.dumps(salt_dict()).encode()))


SOUND = {
    "as it is": lambda folder: None,
    "a compressed structure": packed,
    "a byte order mark": lambda folder: (folder / "ids.txt").write_text("\ufeffa\nb\n", encoding="utf-8"),
    "UTF-16": lambda folder: (folder / "ids.txt").write_text("a\nb\n", encoding="utf-16"),
    "a link into nothing": lambda folder: (folder / "structures" / "c.cif").symlink_to("nowhere"),
    "a link to itself": lambda folder: (folder / "structures" / "c.cif").symlink_to("c.cif"),
}
REFUSED_FOLDERS = {
    "complex numbers": (lambda folder: np.save(folder / "spectra.npy", SPECTRA * 1j), "complex128"),
    "dates": (lambda folder: np.save(folder / "spectra.npy", SPECTRA.astype("M8[s]")), "datetime64"),
    "flags": (lambda folder: np.save(folder / "spectra.npy", SPECTRA > 0), "bool where"),
    "objects": (lambda folder: np.save(folder / "spectra.npy", SPECTRA.astype(object)), "object where"),
    "2^40 spectra": (
        lambda folder: (folder / "spectra.npy").write_bytes(array_file((2**40, EDOS_GRID.size), b"")),
        "more values than it holds",
    ),
    "a structure in two files": (
        lambda folder: (folder / "structures" / "a.vasp").write_text("x"),
        "are both the material a",
    ),
    "a material in two splits": (
        lambda folder: (folder / "split.csv").write_text("material_id,split\na,train\na,test\n"),
        "lists a twice",
    ),
    "empty splits": (lambda folder: (folder / "split.csv").write_text(" "), "cannot be read"),
    "splits in Latin-1": (
        lambda folder: (folder / "split.csv").write_bytes("material_id,split\n\xfc,train\n".encode("latin-1")),
        "cannot be read",
    ),
    "names in Latin-1": (lambda folder: (folder / "ids.txt").write_bytes(b"\xfc\nb\n"), "not a text in UTF-8"),
    "a name twice": (lambda folder: (folder / "ids.txt").write_text("a\na\n"), "several spectra for a"),
}


@pytest.mark.parametrize("change", SOUND.values(), ids=SOUND)
def test_sound_folders_are_read(folder, change):
    change(folder)
    assert read_folder(folder).material_ids.tolist() == ["a", "b"]


@pytest.mark.parametrize(("change", "words"), REFUSED_FOLDERS.values(), ids=REFUSED_FOLDERS)
def test_a_folder_that_contradicts_itself_is_refused(folder, change, words):
    change(folder)
    with pytest.raises((DataError, TableError), match=words):
        read_folder(folder)


def test_lists_of_words_are_read_in_any_unicode(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "x.txt").write_text("mp-1\r\nmp-2 mp-3", encoding=encoding)
        assert read_words(tmp_path / "x.txt") == ["mp-1", "mp-2", "mp-3"]
