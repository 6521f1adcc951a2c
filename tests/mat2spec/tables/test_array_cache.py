"""What is stored is found again, the size is bounded, and neither damage nor a kill does harm."""

import os
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from mat2spec.settings import PredictionSettings
from mat2spec.tables import array_cache
from mat2spec.tables.array_cache import ArrayCache, descriptor_cache

KIND = "sites 1.0"


def array(seed, n_rows=3, width=16):
    return np.random.default_rng(seed).normal(size=(n_rows, width)).astype(np.float32)


def look_up(cache, *seeds, kind=KIND, n_rows=3, width=16):
    """Arrays by seed, and the seeds of those that were computed."""
    computed = []

    def compute(missing):
        computed.extend(seeds[index] for index in missing)
        return [array(seeds[index], n_rows, width) for index in missing]

    found = cache.look_up(kind, [str(seed) for seed in seeds], [n_rows] * len(seeds), compute)
    for seed, values in zip(seeds, found, strict=True):
        np.testing.assert_array_equal(values, array(seed, n_rows, width))
    return computed


@pytest.fixture
def cache(tmp_path):
    made = ArrayCache(tmp_path / "descriptors", 2**30)
    yield made
    made.close()


def test_only_what_is_missing_is_computed_also_by_another_process(cache):
    assert look_up(cache, 1, 2) == [1, 2]
    assert look_up(cache, 2, 3, 1) == [3]
    assert look_up(ArrayCache(cache.path.parent, 2**30), 3, 2, 1) == []


def test_another_version_and_another_number_of_rows_are_computed(cache):
    look_up(cache, 1)
    assert look_up(cache, 1, kind="sites 1.1") == [1]
    assert look_up(cache, 1, n_rows=4) == [1]


def test_what_has_no_array_is_asked_for_again(cache):
    asked = []
    for _ in range(2):
        assert cache.look_up(KIND, ["a"], [2], lambda missing: asked.append(missing) or [None]) == [None]
    assert asked == [[0], [0]]


def test_equal_rows_are_written_once(cache):
    values = np.repeat(array(0, 1, 640), 20, axis=0)
    cache.look_up(KIND, ["a"], [20], lambda _: [values])
    (size,) = cache._connection.execute("select length(content) from arrays").fetchone()
    assert size == 4 * 640 + 4 * 20
    np.testing.assert_array_equal(cache.look_up(KIND, ["a"], [20], pytest.fail)[0], values)


def test_those_used_longest_ago_make_room(tmp_path, monkeypatch):
    cache = ArrayCache(tmp_path, 2**20)
    day = [20_000]
    monkeypatch.setattr(array_cache.time, "time", lambda: day[0] * 86_400.0)
    big = {"n_rows": 16, "width": 640}
    look_up(cache, *range(8), **big)
    day[0] += 1
    assert look_up(cache, 0, **big) == []
    look_up(cache, *range(100, 118), **big)
    assert look_up(cache, 0, **big) == []
    assert look_up(cache, 1, **big) == [1]
    for start in range(200, 400, 20):
        look_up(cache, *range(start, start + 20), **big)
    assert cache.path.stat().st_size < 2.2 * 2**20


def test_a_damaged_file_is_a_miss_with_a_warning_and_begins_anew(cache, caplog):
    look_up(cache, 1)
    cache.close()
    cache.path.write_bytes(b"no database at all" * 1000)
    assert look_up(cache, 1) == [1]
    assert "is damaged" in caplog.text
    assert look_up(cache, 1) == []
    assert cache.path.with_suffix(".corrupt").is_file()


def test_a_damaged_array_is_a_miss_with_a_warning(cache, caplog):
    look_up(cache, 1)
    cache.close()
    with sqlite3.connect(cache.path) as file:
        file.execute("update arrays set content = zeroblob(length(content))")
    assert look_up(cache, 1) == [1]
    assert "is damaged" in caplog.text
    assert look_up(cache, 1) == []


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = ArrayCache(tmp_path / "file", 2**30)
    assert look_up(cache, 1) == [1]
    assert look_up(cache, 1) == [1]
    assert caplog.text.count("cannot be used") == 1


def test_a_writer_that_is_killed_leaves_what_it_had_stored(cache):
    script = """
import itertools, sys
import numpy as np
from pathlib import Path
from mat2spec.tables.array_cache import ArrayCache
cache = ArrayCache(Path(sys.argv[1]), 2**30)
for number in itertools.count():
    cache.look_up("sites 1.0", [f"x{number}"], [40], lambda _: [np.full((40, 640), number, np.float32)])
    print(number, flush=True)
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(cache.path.parent)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for writer in writers:
        while int(writer.stdout.readline()) < 5:
            pass
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    for number in range(5):
        (values,) = cache.look_up(KIND, [f"x{number}"], [40], pytest.fail)
        assert (values == number).all()
    assert look_up(cache, 1) == [1]


def test_settings_bound_it_or_turn_it_off(tmp_path):
    settings = PredictionSettings(descriptor_cache_dir=tmp_path, descriptor_cache_gib=0.5)
    made = descriptor_cache(settings)
    assert (made.path.parent, made.max_bytes) == (tmp_path, 2**29)
    assert descriptor_cache(settings) is made
    assert descriptor_cache(settings.model_copy(update={"descriptor_cache_gib": 0.0})) is None
