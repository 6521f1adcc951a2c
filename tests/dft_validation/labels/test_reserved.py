"""The list of reserved materials."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dft_validation.labels.reserved import Reserved, find_reserved_list, read_reserved
from mat2spec.labels.labelled import DataError


def test_formulas_come_from_the_source_the_structures_and_the_list_itself(tmp_path):
    path = tmp_path / "reserved_ids.txt"
    path.write_text("mp-1\nmine-2\nO3SrV\n")
    pq.write_table(pa.table({"material_id": ["mp-1"], "formula": ["Cl2Na2"]}), tmp_path / "mp_structures.parquet")
    reserved = read_reserved(path, {"mine-2": "K1Br1"})
    assert reserved.formulas == {"NaCl", "KBr", "SrVO3"}
    assert reserved.holds("mp-1", "")
    assert reserved.holds("polymorph", "NaCl")
    assert not reserved.holds("mp-3", "KCl")
    assert len(reserved.sha256) == 64


def test_an_entry_without_a_formula_is_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("mp-1\n")
    with pytest.raises(DataError, match=r"formula of the reserved material mp-1 .* write its formula"):
        read_reserved(path, {})


def test_where_the_list_is_looked_for(tmp_path):
    assert find_reserved_list(None, None) is None
    assert find_reserved_list(None, tmp_path) is None
    assert read_reserved(None, {}) == Reserved()
    (tmp_path / "reserved_ids.txt").write_text("")
    assert find_reserved_list(None, tmp_path) == tmp_path / "reserved_ids.txt"
    with pytest.raises(DataError, match="no list of reserved materials at"):
        find_reserved_list(tmp_path / "nothing.txt", tmp_path)
