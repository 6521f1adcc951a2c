"""Materials are the same whether a database, a store or a list counts them in digits or in letters."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from emmet.core.mpid import AlphaID

from dft_validation.labels.reserved import read_reserved
from mat2spec.crystals.material_ids import in_digits, named_by, spelled_as_in
from screening.choose.candidates import choose_candidates
from screening.report.story import find_material
from screening.runs.folder import RunFolder
from screening.runs.history import PreviousRuns
from screening.settings import FilterSettings, SourceKind, SourceSettings
from screening.sources.parquet import ParquetSource
from tests.flows.conftest import crystals_table

SPELLINGS = {
    "mp-149": "mp-149",
    "mp-ft": "mp-149",
    "mp-aaaaaaft": "mp-149",
    "mp:ft": "mp-149",
    "mp_aaaaaaft": "mp-149",
    "mp-0149": "mp-149",
    "mp-bru": "mp-1138",
    "mp-a": "mp-0",
    "mvc-ft": "mvc-149",
    "mp-vwyxj": "mp-9999999",
    # A user's own names are left alone.
    "my-crystal": "my-crystal",
    "ft": "ft",
    "149": "149",
    "mp-": "mp-",
    "mp-149-GGA": "mp-149-GGA",
    "mp-Si": "mp-Si",
    "MP-FT": "MP-FT",
    "tmp-ft": "tmp-ft",
    "mp-1a": "mp-1a",
    "": "",
    "mp-ft\n": "mp-ft\n",
}


@pytest.mark.parametrize(("spelled", "meant"), SPELLINGS.items())
def test_identifiers_of_the_materials_project_are_matched_in_digits(spelled, meant):
    assert in_digits(spelled) == meant


@pytest.mark.parametrize("number", [1, 25, 26, 149, 676, 1138, 3_347_529, 3_347_530, 20_000_000])
def test_letters_are_those_of_the_database(number):
    assert in_digits(str(AlphaID(number, prefix="mp"))) == f"mp-{number}"
    assert in_digits(str(AlphaID(number, prefix="mp", padlen=8))) == f"mp-{number}"


def test_names_keep_the_spelling_of_their_own_table():
    assert spelled_as_in(["mp-aaaaaaft", "mp-7", "x"], ["mp-149", "mp-h", "mp-7", "y"]) == [
        "mp-aaaaaaft",
        "mp-7",
        "mp-7",
        "y",
    ]
    assert named_by({"mp-149"}, ["mp-ft", "mp-aaaaaaft", "mp-1"]) == {"mp-ft", "mp-aaaaaaft"}
    assert named_by((), ["mp-ft"]) == frozenset()


@pytest.fixture
def source_with(tmp_path):
    """A table of two crystals of given names."""

    def make(*names):
        table = crystals_table().slice(0, len(names))
        place = table.column_names.index("material_id")
        pq.write_table(table.set_column(place, "material_id", pa.array(names)), tmp_path / "crystals.parquet")
        return ParquetSource(tmp_path / "crystals.parquet")

    return make


@pytest.mark.parametrize("stored", ["mp-149", "mp-ft", "mp-aaaaaaft"])
@pytest.mark.parametrize("given", ["mp-149", "mp-ft", "mp-aaaaaaft"])
def test_a_store_of_known_edos_is_matched_whatever_it_counts_in(source_with, tmp_path, stored, given):
    pq.write_table(pa.table({"material_id": [stored], "status": ["ok"]}), tmp_path / "store.parquet")
    settings = SourceSettings(
        kind=SourceKind.PARQUET, path=tmp_path / "crystals.parquet", edos_store=tmp_path / "store.parquet"
    )
    previous = PreviousRuns.find(tmp_path / "none", {"settings": {}, "weights_hashes": {}})
    everything = FilterSettings(
        energy_above_hull_max_ev_per_atom=None, band_gap_max_ev=None, n_elements_max=None, n_sites_max=None
    )
    chosen = choose_candidates(source_with(given, "mp-1"), settings, everything, previous)
    assert chosen.table["material_id"].tolist() == ["mp-1"]
    assert chosen.removed["material_id"].tolist() == [given]
    assert chosen.known_edos["material_id"].tolist() == [given]


@pytest.mark.parametrize("listed", ["mp-149", "mp-ft", "mp-aaaaaaft"])
def test_reserved_materials_are_kept_apart_whatever_the_list_counts_in(tmp_path, listed):
    (tmp_path / "reserved.txt").write_text(f"{listed}\n")
    reserved = read_reserved(tmp_path / "reserved.txt", {"mp-aaaaaaft": "Si"})
    assert all(reserved.holds(name, "another") for name in ("mp-149", "mp-ft", "mp-aaaaaaft"))
    assert reserved.holds("x", "Si")
    assert not reserved.holds("mp-150", "another")


@pytest.mark.parametrize("asked", ["mp-149", "mp-ft", "mp:ft", "Si"])
def test_why_finds_a_material_in_any_spelling(tmp_path, asked):
    rows = pd.DataFrame({"material_id": ["mp-aaaaaaft", "mp-1"], "formula": ["Si", "Ge"]})
    with RunFolder.open(tmp_path, {}) as run:
        assert find_material(run, asked, rows, rows[:0]) == "mp-aaaaaaft"
