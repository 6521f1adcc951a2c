from __future__ import annotations

import pytest

from mat2spec.tables.files import TableError
from screening.settings import SourceSettings
from screening.sources.base import SourceError
from screening.sources.opening import open_source


def test_a_missing_file_gives_a_sentence(tmp_path):
    with pytest.raises(TableError, match="There is no table at"):
        open_source(SourceSettings(kind="parquet", path=tmp_path / "nothing.parquet"))


def test_open_source_reads_the_table_of_the_settings(crystals_path):
    source = open_source(SourceSettings(kind="parquet", path=crystals_path, limit=2))
    assert source.name == "parquet"
    assert len(source.properties()) == 2


def test_a_catalogue_that_is_not_there_gives_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("screening.sources.opening.CATALOGUE_PATH", tmp_path / "catalogue.parquet")
    with pytest.raises(SourceError, match="The embedded catalogue is not at"):
        open_source(SourceSettings())
