from __future__ import annotations

import pandas as pd
import pytest

from mat2spec.tables.files import TableError
from screening.sources.known_edos import known_edos_ids


def test_no_store_knows_nothing():
    assert known_edos_ids(None) == frozenset()


def test_a_table_and_a_folder_of_tables(tmp_path):
    pd.DataFrame({"material_id": ["mp-1", "mp-2"], "edos": [[1.0], [2.0]]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"material_id": ["mp-2", "mp-3"]}).to_parquet(tmp_path / "b.parquet")
    assert known_edos_ids(tmp_path / "a.parquet") == {"mp-1", "mp-2"}
    assert known_edos_ids(tmp_path) == {"mp-1", "mp-2", "mp-3"}


def test_a_failed_calculation_does_not_count_as_an_edos(tmp_path):
    table = pd.DataFrame({"material_id": ["mp-1", "mp-2", "mp-3"], "status": ["ok", "failed", None]})
    table.to_parquet(tmp_path / "a.parquet")
    assert known_edos_ids(tmp_path) == {"mp-1"}


@pytest.mark.parametrize(("name", "sentence"), [("nothing", "no eDOS store at"), (".", "contains no Parquet table")])
def test_a_store_that_is_not_there_gives_a_sentence(tmp_path, name, sentence):
    with pytest.raises(TableError, match=sentence):
        known_edos_ids(tmp_path / name)


def test_a_store_without_identifiers_gives_a_sentence(tmp_path):
    pd.DataFrame({"id": ["mp-1"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(TableError, match="lacks the column material_id"):
        known_edos_ids(tmp_path)
