from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mat2spec.crystals.checks import find_problems
from mat2spec.tables.files import TableError
from screening.sources.base import SourceError
from screening.sources.parquet import ParquetSource


def write(path, table):
    pq.write_table(table, path)
    return path


def replaced(table, name, values, kind=None):
    return table.set_column(table.column_names.index(name), name, pa.array(values, type=kind))


def test_properties_of_all_materials(crystals_path):
    properties = ParquetSource(crystals_path).properties()
    assert properties.material_id.tolist() == ["mp-5", "mp-3", "mp-1", "mp-4", "mp-2"]
    assert properties.chemsys.tolist() == ["O-Sr-V", "K-O-Ta", "Al", "Cl-Na", "N-Ti"]
    assert properties.nsites.tolist() == [5, 5, 1, 2, 2]
    assert properties.nelements.tolist() == [3, 3, 1, 2, 2]
    assert np.isnan(properties.band_gap[4])
    assert np.isnan(properties.energy_above_hull[4])
    assert properties.band_gap[1] == 2.1


def test_crystals_come_in_the_order_asked_for_across_row_groups(crystals_path):
    crystals = ParquetSource(crystals_path).crystals(["mp-2", "mp-5", "mp-1"])
    assert crystals.material_ids.tolist() == ["mp-2", "mp-5", "mp-1"]
    assert crystals.n_sites.tolist() == [2, 5, 1]
    assert crystals.atomic_numbers.tolist() == [22, 7, 38, 23, 8, 8, 8, 13]


def test_formulas_are_worked_out_where_the_table_has_none(tmp_path, crystals_table):
    path = write(tmp_path / "t.parquet", crystals_table.drop_columns(["formula", "band_gap", "energy_above_hull"]))
    properties = ParquetSource(path).properties()
    assert properties.formula.tolist() == ["SrVO3", "KTaO3", "Al", "NaCl", "TiN"]
    assert properties.band_gap.isna().all()


def test_the_limit_takes_the_first_materials(crystals_path):
    source = ParquetSource(crystals_path, limit=3)
    assert source.properties().material_id.tolist() == ["mp-5", "mp-3", "mp-1"]
    with pytest.raises(SourceError, match="mp-4"):
        source.crystals(["mp-4"])
    assert source.fingerprint() != ParquetSource(crystals_path).fingerprint()


def test_the_fingerprint_follows_the_content(tmp_path, crystals_table):
    first = ParquetSource(write(tmp_path / "a.parquet", crystals_table))
    same = ParquetSource(write(tmp_path / "b.parquet", crystals_table))
    other = ParquetSource(write(tmp_path / "c.parquet", crystals_table.slice(1)))
    assert first.fingerprint() == same.fingerprint() != other.fingerprint()


def test_the_database_version_comes_from_the_table_or_its_hash(tmp_path, crystals_table):
    plain = ParquetSource(write(tmp_path / "crystals.parquet", crystals_table))
    assert plain.db_version() == f"crystals-{plain.fingerprint()[:12]}"
    named = write(tmp_path / "named.parquet", crystals_table.replace_schema_metadata({"db_version": "2026.11.1"}))
    assert ParquetSource(named).db_version() == "2026.11.1"


def test_missing_columns_are_named(tmp_path, crystals_table):
    path = write(tmp_path / "t.parquet", crystals_table.drop_columns(["lattice", "atomic_numbers"]))
    with pytest.raises(SourceError, match="lacks the columns lattice, atomic_numbers"):
        ParquetSource(path)


def test_repeated_identifiers_are_refused(tmp_path, crystals_table):
    table = replaced(crystals_table, "material_id", ["a", "b", "a", "c", "d"])
    with pytest.raises(SourceError, match="repeat the material_id of another, the first being a"):
        ParquetSource(write(tmp_path / "t.parquet", table)).properties()


def test_missing_identifiers_are_refused(tmp_path, crystals_table):
    table = replaced(crystals_table, "material_id", ["a", None, "b", "c", "d"])
    with pytest.raises(SourceError, match="have no material_id, the first being row 1"):
        ParquetSource(write(tmp_path / "t.parquet", table)).properties()


def test_a_column_that_holds_no_numbers_is_refused(tmp_path, crystals_table):
    table = replaced(crystals_table, "band_gap", ["metal"] * 5)
    with pytest.raises(SourceError, match=r"band_gap of .* does not hold numbers"):
        ParquetSource(write(tmp_path / "t.parquet", table)).properties()


def test_a_crystal_with_incomplete_numbers_becomes_a_problem_of_its_own(tmp_path, crystals_table):
    lattices = crystals_table["lattice"].to_pylist()
    lattices[0], lattices[1] = lattices[0][:6], None
    coordinates = crystals_table["frac_coords"].to_pylist()
    coordinates[2] = [0.0]
    table = replaced(replaced(crystals_table, "lattice", lattices), "frac_coords", coordinates)
    crystals = ParquetSource(write(tmp_path / "t.parquet", table)).crystals(["mp-5", "mp-3", "mp-1", "mp-4"])
    problems = find_problems(crystals)
    assert "lattice" in problems[0]
    assert "lattice" in problems[1]
    assert "coordinates" in problems[2]
    assert problems[3] is None


def test_a_number_that_is_not_an_element_does_not_stop_the_others(tmp_path, crystals_table):
    numbers = crystals_table["atomic_numbers"].to_pylist()
    numbers[2] = [200]
    table = replaced(crystals_table, "atomic_numbers", numbers).drop_columns(["formula"])
    properties = ParquetSource(write(tmp_path / "t.parquet", table)).properties()
    assert properties.chemsys.tolist() == ["O-Sr-V", "K-O-Ta", "X", "Cl-Na", "N-Ti"]


def test_a_damaged_file_gives_a_sentence(tmp_path, crystals_path):
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(crystals_path.read_bytes()[:-100])
    with pytest.raises(TableError, match="not a readable Parquet file"):
        ParquetSource(damaged)


def test_a_file_damaged_inside_gives_a_sentence(tmp_path, crystals_path):
    content = bytearray(crystals_path.read_bytes())
    content[4:400] = b"\xff" * 396
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(bytes(content))
    source = ParquetSource(damaged)
    with pytest.raises((SourceError, TableError), match="damaged"):
        source.crystals(source.properties().material_id.tolist())
