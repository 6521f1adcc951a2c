"""POSCAR and extxyz files, compressed ones and archives: every oddity is read as it is meant, or said in a sentence."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import zipfile

import pytest
from ase import Atoms
from ase.db import connect
from ase.io import write
from pymatgen.core import DummySpecies, Lattice, Molecule, Structure

from mat2spec import crystals
from mat2spec.crystals import readers
from mat2spec.crystals.checks import find_problems
from mat2spec.crystals.given import crystals_given
from mat2spec.crystals.readers import read_structures
from tests.robustness.crystal_texts import cif, group, poscar, salt_dict

MD = "Lattice velocities and vectors\n 1\n 0 0 0\n0 0 0\n0 0 0\n 4 0 0\n 0 4 0\n0 0 4\n\n 0 0 0\n 0 0 0\n\n1\n1.0\n0 0 0\n"
POSCARS = {
    "small letters": poscar(kind="direct"),
    "Kartesian in one letter": poscar(kind="K", sites="0 0 0\n2.06 2.06 2.06"),
    "fractional": poscar(kind="Fractional"),
    "a remark behind the scale": poscar(scale="1.0 ! Angstrom"),
    "another remark behind the scale": poscar(scale="1.0 # Angstrom"),
    "a scale from Bohr": poscar(scale="0.529177", a=7.7857),
    "a scale of Cartesian coordinates": poscar(scale="4.12", a=1, kind="Cart", sites="0 0 0\n.5 .5 .5"),
    "a remark behind the elements": poscar("Cs Cl ! relaxed"),
    "a remark behind the numbers": poscar(counts="1 1 # each"),
    "an element without atoms": poscar("Cs Cl K", "1 1 0"),
    "exponents of Fortran": poscar(sites="0 0 0\n5.0d-1 .5 .5"),
    "selective without flags": poscar(kind="Selective dynamics\nDirect"),
    "no title": poscar(title=""),
    "the end of a molecular dynamics run": poscar() + MD,
    "a charge density": poscar() + "\n 2 2 2\n 1 2 3 4 5\n 6 7 8\n",
    "lines of Windows": poscar().replace("\n", "\r\n"),
    "a title in Latin-1": poscar(title="M\xfcller").encode("latin-1"),
}
NO_POSCARS = {
    "no kind": (poscar().replace("Direct\n", ""), "must be 'Direct' or 'Cartesian', but is '0 0 0'"),
    "a blank kind": (poscar(kind=""), "must be 'Direct' or 'Cartesian'"),
    "another kind": (poscar(kind="Angstrom", sites="0 0 0\n2.06 2.06 2.06"), "but is 'Angstrom'"),
    "selective without a kind": (poscar(kind="Selective", sites="0 0 0 T T T\n.5 .5 .5 F F F"), "must be 'Direct'"),
    "numbers of atoms with a point": (poscar(counts="1.0 1.0"), "there is '1.0 1.0'"),
    "a negative number of atoms": (poscar(counts="1 -1"), "there is '1 -1'"),
    "no atoms at all": (poscar(counts="0 0"), "declares no atoms"),
    "two coordinates": (poscar(sites="0 0\n.5 .5"), "Line 9 does not parse"),
    "a blank line between sites": (poscar(sites="0 0 0\n\n.5 .5 .5"), "Line 10 does not parse"),
    "two atoms in a line": (poscar(sites="0 0 0 .5 .5 .5"), "Line 10 does not parse"),
    "a coordinate that is not a number": (poscar(sites="0 0 0\nnan .5 .5"), "but is 'nan .5 .5'"),
    "digits with an underscore": (poscar(sites="0 0 0\n0_5 .5 .5"), "but is '0_5 .5 .5'"),
    "a lattice with an underscore": (poscar(a="4_12"), "three lattice vectors"),
    "a minus of a word processor": (poscar(sites="0 0 0\n\u2212.5 .5 .5"), "Line 10 does not parse"),
    "the steps of a run": (
        poscar(kind="Direct configuration=     1") + "Direct configuration=     2\n0 0 0\n.5 .5 .4\n",
        "several crystals",
    ),
    "the steps of a run with changing cells": (poscar() + poscar(), "several crystals"),
    "two files in one": (poscar() + poscar("Na Cl"), "several crystals"),
    "versions that were never merged": (poscar().replace("4.12 0 0", "<<<<<<< a\n4.12 0 0\n>>>>>>> b"), "not a CIF"),
}


def read(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_structures([folder / name])


@pytest.mark.parametrize("content", POSCARS.values(), ids=POSCARS)
def test_poscars_of_all_kinds_are_read(tmp_path, content):
    (entry,) = read(tmp_path, "POSCAR", content)
    assert entry.structure is not None, entry.reason
    assert entry.structure.formula == "Cs1 Cl1"
    assert entry.structure.get_distance(0, 1) == pytest.approx(4.12 * 3**0.5 / 2, abs=1e-3)


@pytest.mark.parametrize(("content", "words"), NO_POSCARS.values(), ids=NO_POSCARS)
def test_what_is_not_a_poscar_of_one_crystal_is_refused(tmp_path, content, words):
    (entry,) = read(tmp_path, "POSCAR", content)
    assert entry.structure is None
    assert words in entry.reason
    assert "Error" not in entry.reason


BOX, PROPERTIES = 'Lattice="4 0 0 0 4 0 0 0 4"', "Properties=species:S:1:pos:R:3"


def frame(comment=f"{BOX} {PROPERTIES}", second="Cl"):
    return f"2\n{comment}\nCs 0 0 0\n{second} 2 2 2\n"


NO_FRAMES = {
    "no lattice": (frame(PROPERTIES), "not periodic"),
    "no periods": (frame(f'{BOX} {PROPERTIES} pbc="F F F"'), "not periodic"),
    "a slab": (frame(f'{BOX} {PROPERTIES} pbc="T T F"'), "not periodic"),
    "a lattice twice": (frame(f'{BOX} {PROPERTIES} Lattice="9 0 0 0 9 0 0 0 9"'), "'lattice' twice"),
    "three numbers": (frame(f'Lattice="4 4 4" {PROPERTIES}'), "9-long"),
    "a flat lattice": (frame(f'Lattice="0 0 0 0 0 0 0 0 0" {PROPERTIES}'), "in a plane"),
    "a vacancy": (frame(second="Vac"), "'Vac' is not an element"),
    "a numbered element": (frame(second="Cl1"), "'Cl1' is not an element"),
    "a dummy": (frame(second="X"), "not elements: X"),
}


@pytest.mark.parametrize(("content", "words"), NO_FRAMES.values(), ids=NO_FRAMES)
def test_a_frame_that_is_no_crystal_stops_no_other(tmp_path, content, words):
    before, bad, after = read(tmp_path, "x.extxyz", frame() + content + frame())
    assert before.structure == after.structure is not None
    assert bad.structure is None
    assert words in bad.reason
    assert "Error" not in bad.reason


def test_frames_before_a_file_was_cut_are_read(tmp_path):
    first, cut = read(tmp_path, "x.extxyz", frame() + frame()[:-12])
    assert first.structure is not None
    assert "declares 2 atoms but has 1 lines" in cut.reason


ENCODINGS = {
    "x.extxyz.gz": gzip.compress(frame().encode()),
    "x.xyz.xz": lzma.compress(frame().encode()),
    "latin.extxyz": frame(f"{BOX} {PROPERTIES} author=M\xfcller").encode("latin-1"),
    "wide.extxyz": frame().encode("utf-16"),
    "x.cif.bz2": bz2.compress(cif("Cs1 0 0 0\nCl1 .5 .5 .5", group("P m -3 m"), a=4.12).encode()),
    "x.cif.xz": lzma.compress(cif("Cs1 0 0 0\nCl1 .5 .5 .5", group("P m -3 m"), a=4.12).encode()),
    "POSCAR.bz2": bz2.compress(poscar().encode()),
    "x.json.xz": lzma.compress(json.dumps(salt_dict()).encode()),
    "unnamed.cif": bz2.compress(cif("Cs1 0 0 0\nCl1 .5 .5 .5", group("P m -3 m"), a=4.12).encode()),
}


@pytest.mark.parametrize(("name", "content"), ENCODINGS.items(), ids=ENCODINGS)
def test_compressed_files_and_other_encodings_are_read(tmp_path, name, content):
    (entry,) = read(tmp_path, name, content)
    assert entry.structure is not None, entry.reason
    assert entry.structure.formula == "Cs1 Cl1"
    if name != "unnamed.cif":
        assert len(read_structures([tmp_path])) == 1


def archive(kind):
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as members:
            members.writestr("a.cif", cif())
    else:
        with tarfile.open(fileobj=stream, mode=kind) as members:
            info, content = tarfile.TarInfo("a.cif"), cif().encode()
            info.size = len(content)
            members.addfile(info, io.BytesIO(content))
    return stream.getvalue()


PACKED = {
    "x.zip": (archive("zip"), "an archive (zip)"),
    "named.cif": (archive("zip"), "an archive (zip)"),
    "x.tar": (archive("w:"), "an archive (tar)"),
    "x.tar.gz": (archive("w:gz"), "an archive (tar)"),
    "x.tar.xz": (archive("w:xz"), "an archive (tar)"),
    "x.cif.zst": (b"\x28\xb5\x2f\xfd\x04\x00", "an archive (zstd)"),
    "cut.cif.bz2": (bz2.compress(cif().encode() * 50)[:60], "damaged or incomplete"),
    "cut.cif.xz": (lzma.compress(cif().encode() * 50)[:60], "damaged or incomplete"),
    "flipped.cif.bz2": (bz2.compress(cif().encode() * 50)[:40] + b"0" * 40, "damaged or incomplete"),
    "twice.cif.gz": (gzip.compress(gzip.compress(cif().encode())), "not a text file"),
    "lfs.cif": (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n", "git lfs pull"),
    "annex.json": (b"/annex/objects/SHA256E-s1--abc.json\n", "git annex get"),
}


@pytest.mark.parametrize(("name", "content"), PACKED.items(), ids=PACKED)
def test_archives_and_pointers_are_called_what_they_are(tmp_path, name, content):
    (entry,) = read(tmp_path, name, content[0])
    assert entry.structure is None
    assert content[1] in entry.reason


@pytest.mark.parametrize(("mass", "isotopes"), [(1.008, []), (2.014, ["D"]), (3.016, ["T"])])
def test_the_mass_of_hydrogen_tells_its_isotope(tmp_path, mass, isotopes):
    content = f"2\n{BOX} {PROPERTIES}:masses:R:1\nLi 0 0 0 6.94\nH 2 2 2 {mass}\n"
    (entry,) = read(tmp_path, "x.extxyz", content)
    assert list(entry.isotopes) == isotopes
    atoms = Atoms("LiH", positions=[[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True, masses=[6.94, mass])
    assert crystals_given(atoms)[1] == [isotopes]


def test_other_masses_are_noted(tmp_path):
    (entry,) = read(tmp_path, "x.extxyz", f"1\n{BOX} {PROPERTIES}:masses:R:1\nLi 0 0 0 6.015\n")
    assert "masses of the file are ignored" in entry.note


def salt_atoms(**info):
    return Atoms("CsCl", positions=[[0, 0, 0], [2.06] * 3], cell=[4.12] * 3, pbc=True, info=info)


def test_a_damaged_row_of_a_database_stops_no_other(tmp_path):
    with connect(tmp_path / "x.db") as database:
        for name in ("good", "bad", "[last]"):
            database.write(salt_atoms(), name=name)
    rows = sqlite3.connect(tmp_path / "x.db")
    rows.execute("update systems set positions = x'00' where id = 2")
    rows.commit()
    rows.close()
    entries = read_structures([tmp_path / "x.db"])
    assert [entry.key for entry in entries] == ["good", "bad", "[last]"]
    assert [entry.structure is not None for entry in entries] == [True, False, True]
    assert "cannot read the database" in entries[1].reason


DISORDERED = {"0": {"Cs": 0.5, "Rb": 0.5}, "1": {"Cl": 1}}
NO_CRYSTALS = {
    "shares that ASE notes": (salt_atoms(occupancy=DISORDERED), "partial occupancies"),
    "half a site": (salt_atoms(occupancy={"0": {"Cs": 0.5}, "1": {"Cl": 1}}), "partial occupancies"),
    "a molecule": (Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7]]), "not periodic"),
    "a slab": (
        Structure(Lattice([[4, 0, 0], [0, 4, 0], [0, 0, 9]], pbc=(True, True, False)), ["Cs"], [[0, 0, 0]]),
        "not periodic",
    ),
    "a molecule of pymatgen": (Molecule(["H"], [[0, 0, 0]]), "type Molecule"),
    "a mapping": (salt_dict(), "type dict"),
    "nothing": (None, "type NoneType"),
    "a name": ("x.cif", "type str"),
    "a dummy": (Structure(Lattice.cubic(4), [DummySpecies("X")], [[0, 0, 0]]), "not elements: X"),
    "a coordinate that is not a number": (
        Structure(Lattice.cubic(4), ["Cs"], [[float("nan"), 0, 0]]),
        "non-finite",
    ),
}


@pytest.mark.parametrize(("given", "words"), NO_CRYSTALS.values(), ids=NO_CRYSTALS)
def test_what_is_given_in_python_and_no_crystal_has_a_problem(given, words):
    found, _ = crystals_given([salt_atoms(occupancy={"0": {"Cs": 1.0}, "1": {"Cl": 1.0}}), given])
    good, bad = find_problems(found)
    assert good is None
    assert words in bad


def test_a_charge_of_atoms_is_noted(tmp_path):
    write(tmp_path / "x.extxyz", salt_atoms(charge=1))
    (entry,) = read_structures([tmp_path / "x.extxyz"])
    assert "charge of the cell" in entry.note


FAULTS = {
    "a full memory": MemoryError(),
    "a lost drive": OSError(errno.EIO, "Input/output error"),
    "too many files": OSError(errno.EMFILE, "Too many open files"),
}


@pytest.mark.parametrize("error", FAULTS.values(), ids=FAULTS)
def test_faults_of_the_machine_are_not_blamed_on_the_crystal(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    for place in (readers.read_poscar, readers.read_entry):
        monkeypatch.setattr(readers, place.__name__, fail)
    monkeypatch.setattr(crystals.ase_files, "read_xyz", fail)
    for name, content in {"POSCAR": poscar(), "x.json": json.dumps(salt_dict()), "x.extxyz": frame()}.items():
        if isinstance(error, MemoryError):
            with pytest.raises(MemoryError):
                read(tmp_path, name, content)
        else:
            (entry,) = read(tmp_path, name, content)
            assert error.strerror in entry.reason
            assert "crystal" not in entry.reason
