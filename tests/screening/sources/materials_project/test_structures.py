"""Structures by id from a Materials Project on loopback."""

import pyarrow.parquet as pq
import pytest

from mat2spec.crystals.arrays import Crystals
from mat2spec.tables.parquet import read_table
from screening.sources.materials_project.errors import ApiKeyError
from screening.sources.materials_project.structures import fetch_structures
from tests.screening.sources.materials_project.loopback import GOOD_KEY, legacy_id


def no_progress(done, total):
    """Ignore progress."""


def test_crystals_come_whatever_their_properties_and_missing_ones_are_named(server, source_settings, tmp_path):
    wanted = [legacy_id(3), legacy_id(0), legacy_id(3), "mp-999999999"]
    n_rows, missing = fetch_structures(tmp_path / "s.parquet", wanted, source_settings, no_progress, GOOD_KEY)
    crystals = Crystals.from_arrow(read_table(tmp_path / "s.parquet"))
    assert n_rows == len(crystals) == 2
    assert set(crystals.material_ids) == {legacy_id(0), legacy_id(3)}
    assert missing == ["mp-999999999"]
    assert pq.read_schema(tmp_path / "s.parquet").metadata[b"db_version"]


def test_without_a_key_nothing_is_written(source_settings, tmp_path):
    with pytest.raises(ApiKeyError):
        fetch_structures(tmp_path / "s.parquet", ["mp-1"], source_settings, no_progress)
    assert not (tmp_path / "s.parquet").exists()
