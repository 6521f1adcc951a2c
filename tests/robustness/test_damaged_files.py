"""Files that are cut off, declare more than they hold, or are not files: a sentence at once, and the others are read."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile

import numpy as np
import pytest

from mat2spec.crystals import ase_files
from mat2spec.crystals.readers import read_structures
from mat2spec.external import ExternalPredictions, ExternalPredictionsError
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.files import TableError
from mat2spec.tables.parquet import read_table
from tests.robustness.crystal_texts import cif, salt_dict

LATTICE = 'Lattice="4 0 0 0 4 0 0 0 4"'
SITES = "Cs 0 0 0\nCl 2 2 2\n"
PACKED = gzip.compress(cif().encode() * 50)
# Name, content (None: a pipe), words of the reason.
CRYSTALS = (
    ("cut.cif.gz", PACKED[:40], "damaged or incomplete"),
    ("sum.cif.gz", PACKED[:-8] + b"12345678", "damaged or incomplete"),
    ("body.cif.gz", PACKED[:30] + bytes(30) + PACKED[60:], "damaged or incomplete"),
    ("head.cif.gz", PACKED[:5], "damaged or incomplete"),
    ("cut.json.gz", gzip.compress(json.dumps(salt_dict()).encode())[:-12], "damaged or incomplete"),
    ("many.extxyz", f"99999999999\n{LATTICE} Properties=species:S:1:pos:R:3\n{SITES}", "declares 1e+11 atoms but has"),
    ("wide.extxyz", f"2\n{LATTICE} Properties=species:S:1:pos:R:2000000000\n{SITES}", "more than its lines"),
    ("more.extxyz", f"2\n{LATTICE} Properties=species:S:1:pos:R:3:forces:R:3\n{SITES}", "declares 7 columns"),
    ("less.extxyz", f"2\n{LATTICE} Properties=species:S:1:pos:R:3\nCs 0 0 0\n", "declares 2 atoms but has 1 lines"),
    ("word.extxyz", f"two\n{LATTICE} Properties=species:S:1:pos:R:3\n{SITES}", "not a number of atoms"),
    ("digits.extxyz", "9" * 5000 + f"\n{LATTICE}\n{SITES}", "4300 digits"),
    ("many.vasp", "x\n1\n4 0 0\n0 4 0\n0 0 4\nCs Cl\n2000000000 1\nDirect\n0 0 0\n0 0 0\n", "declares 2e+09 atoms"),
    ("pipe.cif", None, "a pipe or a device"),
    ("/dev/null", b"", "a pipe or a device"),
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("name", "content", "words"), CRYSTALS, ids=[name for name, *_ in CRYSTALS])
def test_a_damaged_file_of_crystals_is_a_sentence_and_the_others_are_read(tmp_path, name, content, words):
    bad, good = tmp_path / name, tmp_path / "good.json"
    good.write_text(json.dumps(salt_dict()))
    if content is None:
        os.mkfifo(bad)
    elif bad.parent == tmp_path:
        bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused, read = read_structures([bad, good])
    assert refused.structure is None
    assert words in refused.reason
    assert read.structure is not None


@pytest.mark.parametrize("n_frames", [1, 3])
@pytest.mark.parametrize("properties", ["Properties=species:S:1:pos:R:3", "", 'Properties="species:S:1:pos:R:3"'])
def test_sound_extxyz_files_are_read(tmp_path, n_frames, properties):
    (tmp_path / "x.extxyz").write_text(f'2\n{LATTICE} {properties} pbc="T T T"\n{SITES}' * n_frames)
    assert [entry.structure.formula for entry in read_structures([tmp_path / "x.extxyz"])] == ["Cs1 Cl1"] * n_frames


def test_a_trajectory_that_declares_too_much_is_damaged_and_does_not_fill_the_memory(tmp_path, monkeypatch):
    (tmp_path / "x.traj").write_bytes(b"small")
    monkeypatch.setattr(ase_files, "iread", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
    (entry,) = read_structures([tmp_path / "x.traj"])
    assert "declares more than it holds" in entry.reason
    monkeypatch.setattr(ase_files, "_SMALL_BYTES", 4)
    with pytest.raises(MemoryError):
        read_structures([tmp_path / "x.traj"])


def array_file(shape, content, kind="<f8"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + content


def saved(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


SPECTRUM = np.ones((1, EDOS_GRID.size))
# What stands in the file for the spectra or the identifiers, words of the reason.
ARRAYS = {
    "2^40 spectra": ({"spectra": array_file((2**40, EDOS_GRID.size), b"")}, "more values than it holds"),
    "a negative shape": ({"spectra": array_file((-1, EDOS_GRID.size), b"")}, "cannot be read as npz"),
    "half a spectrum": ({"spectra": array_file((1, EDOS_GRID.size), bytes(8))}, "more values than it holds"),
    "no array": ({"spectra": b"hello"}, "cannot be read as npz"),
    "code in a header": ({"spectra": b"\x93NUMPY\x01\x00\x40\x00" + b"__import__('os')".ljust(64)}, "cannot be read"),
    "complex numbers": ({"spectra": saved(SPECTRUM * 1j)}, "complex128 where real numbers belong"),
    "text": ({"spectra": saved(SPECTRUM.astype(str))}, "where real numbers belong"),
    "dates": ({"spectra": saved(SPECTRUM.astype("M8[s]"))}, "where real numbers belong"),
    "yes and no": ({"spectra": saved(SPECTRUM > 0)}, "bool where real numbers belong"),
    "identifiers with a fraction": ({"ids": saved(np.array([1.5]))}, "cannot be names"),
    "pickled identifiers": ({"ids": saved(np.array(["mp-1"], dtype=object))}, "as text"),
}


def npz(path, parts):
    sound = {"ids": saved(np.array(["mp-1"])), "energies": saved(EDOS_GRID.centers), "spectra": saved(SPECTRUM)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (sound | parts).items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize(("parts", "words"), ARRAYS.values(), ids=ARRAYS)
def test_invalid_arrays_are_refused_and_cost_no_memory(tmp_path, parts, words):
    with pytest.raises(ExternalPredictionsError, match=words):
        ExternalPredictions(npz(tmp_path / "x.npz", parts))


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY", b"PK\x03\x04" + bytes(99)], ids=len)
def test_invalid_archives_are_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ExternalPredictionsError, match="cannot be read as npz"):
        ExternalPredictions(tmp_path / "x.npz")


@pytest.mark.parametrize("ids", [np.array(["7"]), np.array([b"7"]), np.array([7]), np.array([7], dtype=np.uint8)])
def test_identifiers_in_bytes_and_numbers_are_names(tmp_path, ids):
    assert ExternalPredictions(npz(tmp_path / "x.npz", {"ids": saved(ids)}))._rows == {"7": 0}


@pytest.mark.timeout(30)
def test_a_pipe_is_not_read_as_a_table(tmp_path):
    os.mkfifo(tmp_path / "x.parquet")
    with pytest.raises(TableError, match="is a pipe"):
        read_table(tmp_path / "x.parquet")
