"""Materials by identifier: from runs, the catalogue and the Materials Project, by the reader of `predict` and `screen`."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from screening.runs.folder import RunFolder
from screening.runs.schemas import TableName
from screening.settings import SourceKind, SourceSettings
from screening.sources import by_id
from screening.sources.by_id import read_crystals
from screening.sources.opening import open_source
from tests.screening.sources.materials_project.loopback import DB_VERSION, GOOD_KEY, SUMMARY, legacy_id, stored_id

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CAESIUM = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def run_with(results_dir, name, structure, salt="a"):
    """A run that holds one crystal."""
    with RunFolder.open(results_dir, {"salt": salt}) as run:
        run.write_table(TableName.CRYSTALS, Crystals.from_structures([structure], [name]).to_arrow())
    return run


def read(*names, results_dir, settings=None):
    return read_crystals([Path(name) for name in names], settings or SourceSettings(), results_dir)


def test_the_newest_run_that_has_a_material_gives_its_crystal(tmp_path):
    run_with(tmp_path, "mp-149", SALT, "a")
    run = run_with(tmp_path, "mp-149", CAESIUM, "b")
    (found,) = read("mp-149", results_dir=tmp_path)
    assert found.structure.reduced_formula == "CsCl"
    assert found.origin == f"run {run.run_id}"


@pytest.mark.parametrize(
    ("stored", "asked"), [("mp-149", "mp-ft"), ("mp-aaaaaaft", "mp-149"), ("mp-ft", "mp-aaaaaaft")]
)
def test_a_material_of_a_run_is_found_in_another_spelling_and_keeps_the_one_asked_for(tmp_path, stored, asked):
    run_with(tmp_path, stored, SALT)
    (found,) = read(asked, results_dir=tmp_path)
    assert (found.name, found.structure.reduced_formula) == (asked, "NaCl")


def test_runs_and_the_catalogue_are_opened_once_for_many_identifiers(tmp_path, monkeypatch):
    run_with(tmp_path, "mp-149", SALT)
    opened = []
    monkeypatch.setattr(by_id, "ParquetSource", lambda path: opened.append(path) or _REAL_SOURCE(path))
    monkeypatch.setattr(by_id, "list_runs", lambda path: opened.append(path) or _REAL_RUNS(path))
    names = ["cat-aflow-060-Sm", "mp-149", "x-1", "x-2", "cat-aflow-060-Sm"]
    found = read(*names, results_dir=tmp_path)
    assert [entry.name for entry in found] == names
    assert [bool(entry.structure) for entry in found] == [True, True, False, False, True]
    assert len(opened) == 2


_REAL_SOURCE, _REAL_RUNS = by_id.ParquetSource, by_id.list_runs


def test_a_damaged_run_is_passed_over_and_named(tmp_path, caplog):
    run_with(tmp_path, "mp-149", SALT, "a")
    bad = run_with(tmp_path, "mp-149", CAESIUM, "b")
    bad.table_path(TableName.CRYSTALS).write_bytes(b"PAR1 nothing")
    (found,) = read("mp-149", results_dir=tmp_path)
    assert found.structure.reduced_formula == "NaCl"
    assert str(bad.table_path(TableName.CRYSTALS)) in caplog.text


def test_a_text_file_lists_identifiers_and_any_other_is_a_file(tmp_path):
    run_with(tmp_path, "mp-149", SALT)
    (tmp_path / "picks.txt").write_text("\ufeffmp-149\r\n\r\nx-1\nmp-149\n", encoding="utf-8")
    found = read(tmp_path / "picks.txt", results_dir=tmp_path)
    assert [entry.name for entry in found] == ["mp-149", "x-1"]
    (tmp_path / "notes.txt").write_text("mp-149 is silicon, which see.\n")
    (found,) = read(tmp_path / "notes.txt", results_dir=tmp_path)
    assert found.structure is None
    assert "notes.txt" in found.name


def test_a_screen_finds_identifiers_in_runs_and_follows_their_crystals(tmp_path):
    settings = SourceSettings(kind=SourceKind.FILES, path=Path("mp-149,cat-aflow-060-Sm"))
    run_with(tmp_path, "mp-149", SALT, "a")
    source = open_source(settings, results_dir=tmp_path)
    assert source.properties().formula.tolist() == ["NaCl", "Sm"]
    assert source.properties().origin[1] == "embedded catalogue"
    assert open_source(settings, results_dir=tmp_path).fingerprint() == source.fingerprint()
    run_with(tmp_path, "mp-149", CAESIUM, "b")
    by_id_again = SourceSettings(kind=SourceKind.FILES, path=Path("cat-aflow-060-Sm,mp-149"))
    assert open_source(by_id_again, results_dir=tmp_path).properties().formula.tolist() == ["Sm", "CsCl"]


class TestMaterialsProject:
    @pytest.fixture(autouse=True)
    def key(self, monkeypatch):
        monkeypatch.setenv("MP_API_KEY", GOOD_KEY)

    def test_what_no_run_has_is_asked_for_in_one_request(self, server, source_settings, tmp_path):
        run_with(tmp_path, "mp-149", SALT)
        names = [legacy_id(2), "mp-149", legacy_id(0), "mp-999999999"]
        found = read(*names, results_dir=tmp_path, settings=source_settings)
        assert [entry.name for entry in found] == names
        assert [entry.origin for entry in found if "Project" in entry.origin] == [f"Materials Project {DB_VERSION}"] * 2
        assert found[3].reason == f"The Materials Project {DB_VERSION} has no such material."
        assert len(server.asked(SUMMARY)) == 1

    def test_identifiers_in_letters_are_asked_for_too(self, server, source_settings, tmp_path):
        (found,) = read(stored_id(1), results_dir=tmp_path, settings=source_settings)
        (same,) = read(legacy_id(1), results_dir=tmp_path, settings=source_settings)
        assert found.structure == same.structure

    def test_a_screen_takes_them(self, server, source_settings, tmp_path):
        ids = source_settings.model_copy(
            update={"kind": SourceKind.FILES, "path": Path(f"{legacy_id(0)},{legacy_id(3)}")}
        )
        source = open_source(ids, results_dir=tmp_path)
        assert source.properties().material_id.tolist() == [legacy_id(0), legacy_id(3)]
        assert set(source.properties().origin) == {f"Materials Project {DB_VERSION}"}

    def test_a_refused_key_is_the_reason_of_the_row_without_the_key(
        self, server, source_settings, tmp_path, monkeypatch
    ):
        wrong = "wrong" * 6 + "01"
        monkeypatch.setenv("MP_API_KEY", wrong)
        (found,) = read(legacy_id(0), results_dir=tmp_path, settings=source_settings)
        assert found.structure is None
        assert "key" in found.reason
        assert wrong not in found.reason
