"""Files of crystals, and materials by identifier, as a source."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pymatgen.core import Lattice, Structure

from screening.choose.filters import filter_candidates, removed_materials
from screening.settings import SourceKind, SourceSettings
from screening.sources.base import SourceError
from screening.sources.by_id import read_crystals
from screening.sources.opening import open_source

COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]]).get_primitive_structure()


@pytest.fixture
def folder(tmp_path):
    COPPER.to(filename=str(tmp_path / "Cu.cif"))
    (tmp_path / "broken.cif").write_text("data_nothing\n_cell_length_a oops\n")
    return tmp_path


def source_of(path, **more):
    return open_source(SourceSettings(kind=SourceKind.FILES, path=path, **more))


def test_a_folder_is_a_source_with_the_origin_of_every_row(folder):
    rows = source_of(folder).properties().set_index("material_id")
    good, bad = rows.loc[str(folder / "Cu.cif")], rows.loc[str(folder / "broken.cif")]
    assert (good.formula, good.nsites, good.origin, good.reason) == ("Cu", 1, str(folder / "Cu.cif"), "")
    assert "does not parse" in bad.reason


def test_what_is_unreadable_is_removed_with_its_reason(folder):
    properties = source_of(folder).properties()
    candidates, counts = filter_candidates(properties)
    assert candidates.formula.tolist() == ["Cu"]
    assert counts.set_index("filter").removed["readable"] == 1
    removed = removed_materials(properties)
    assert removed["filter"].tolist() == ["readable"]
    assert "does not parse" in removed.reason[0]


def test_the_fingerprint_follows_the_content(folder):
    before = source_of(folder).fingerprint()
    assert source_of(folder).fingerprint() == before
    COPPER.to(filename=str(folder / "again.cif"))
    assert source_of(folder).fingerprint() != before
    assert len(source_of(folder, limit=1).properties()) == 1


def test_a_table_of_whole_structures_is_read_too(tmp_path):
    pl.DataFrame({"material_id": ["x"], "structure": [COPPER.to_json()]}).write_parquet(tmp_path / "a.parquet")
    source = open_source(SourceSettings(kind=SourceKind.PARQUET, path=tmp_path / "a.parquet"))
    assert source.crystals([f"{tmp_path / 'a.parquet'}#x"]).n_sites.tolist() == [1]


def test_an_empty_source_says_so(tmp_path):
    with pytest.raises(SourceError, match="holds no file of crystals"):
        source_of(tmp_path)
    with pytest.raises(SourceError, match="No crystal could be read"):
        source_of(Path("nowhere.cif"))


def test_a_material_of_the_catalogue_is_found_by_its_identifier(tmp_path):
    (found,) = read_crystals([Path("cat-aflow-060-Sm")], SourceSettings(), tmp_path)
    assert found.structure.reduced_formula == "Sm"
    assert found.origin == "embedded catalogue"
    source = source_of(Path("cat-aflow-060-Sm"))
    assert source.properties().origin.tolist() == ["embedded catalogue"]


def test_without_a_key_an_identifier_is_a_row_with_its_reason(monkeypatch, tmp_path):
    for name in ("MP_API_KEY", "PMG_MAPI_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (found,) = read_crystals([Path("mp-149")], SourceSettings(), tmp_path)
    assert found.structure is None
    assert "API key" in found.reason
    (found,) = read_crystals([Path("no-such-thing")], SourceSettings(), tmp_path)
    assert "neither a run nor the catalogue" in found.reason
