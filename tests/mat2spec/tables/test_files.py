import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mat2spec.tables.files import TableError, atomic_path, file_sha256
from mat2spec.tables.parquet import read_table


def test_file_appears_whole(tmp_path):
    target = tmp_path / "new" / "table"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_failure_leaves_what_was_there(tmp_path):
    target = tmp_path / "table"
    target.write_text("old")

    def write_and_fail():
        with atomic_path(target) as temporary:
            temporary.write_text("ha")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_and_fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_hash_is_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"crystal")
    assert file_sha256(tmp_path / "f") == hashlib.sha256(b"crystal").hexdigest()


def test_unreadable_tables_are_sentences(tmp_path):
    with pytest.raises(TableError, match="There is no table"):
        read_table(tmp_path / "none.parquet")
    whole = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1, 2]}), whole)
    with pytest.raises(TableError, match="lacks the columns c, b; it has a"):
        read_table(whole, ["a", "c", "b"])
    whole.write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(TableError, match="not a readable Parquet file"):
        read_table(whole)
