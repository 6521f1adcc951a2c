"""Shards resume, and a build writes the same table twice."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from scripts.catalogue import shards as shards_module
from scripts.catalogue.build import build_catalogue
from scripts.catalogue.candidates import Candidate, substitution_candidates
from scripts.catalogue.relaxation import Relaxation
from scripts.catalogue.settings import CatalogueSettings
from scripts.catalogue.shards import relax_shards, shard_fingerprint, split_into_shards
from scripts.catalogue.table import SCHEMA, read_metadata


def fake_relax(model, cell, elements, scales, scan, settings):
    n = len(elements)
    return Relaxation(
        lattices=scales[:, None, None] * cell.lattice,
        frac_coords=np.repeat(cell.frac_coords[None], n, axis=0),
        energy=-elements.sum(axis=1).astype(float),
        max_force=np.zeros(n),
        max_stress=np.zeros(n),
        steps=np.full(n, 3),
        converged=np.ones(n, dtype=bool),
        contact=np.ones(n),
        collapsed=np.zeros(n, dtype=bool),
    )


@pytest.fixture
def work(monkeypatch):
    calls = []
    monkeypatch.setattr(shards_module, "relax", lambda *args: calls.append(len(args[2])) or fake_relax(*args))
    settings = CatalogueSettings(sampling_fraction=0.02, shard_size=4)
    candidates, prototypes = substitution_candidates(settings)
    return calls, split_into_shards(candidates[:40], 4), prototypes, settings


def test_shards_hold_one_prototype_and_similar_scales():
    candidates = [Candidate(f"c{i}", "p" if i < 5 else "q", ("Na",), 1.0 + 0.1 * i, "substitution") for i in range(8)]
    shards = split_into_shards(candidates, 3)
    assert [c for shard in shards for c in shard] == candidates
    assert all(len({c.prototype for c in shard}) == 1 and len(shard) <= 3 for shard in shards)
    assert all(shard[-1].scale <= 1.25 * shard[0].scale for shard in shards)


def test_a_rerun_relaxes_only_what_is_missing(work, tmp_path):
    calls, shards, prototypes, settings = work
    lines = []
    arguments = (lambda: None, shards, prototypes, tmp_path, settings, lambda *line: lines.append(line))
    paths = relax_shards(*arguments)
    assert len(calls) == len(shards) == len(lines)
    paths[2].unlink()
    (tmp_path / "shard-half.partial").write_bytes(b"cut off")
    assert relax_shards(*arguments) == paths
    assert len(calls) == len(shards) + 1
    assert pq.read_table(paths[2]).num_rows == len(shards[2])


def test_settings_and_content_are_part_of_a_shards_name(work):
    _, shards, _, settings = work
    other = settings.model_copy(update={"max_steps": 7})
    names = {shard_fingerprint(shards[0], settings), shard_fingerprint(shards[0], other)}
    assert len(names | {shard_fingerprint(shards[1], settings)}) == 3


def test_a_build_writes_the_same_sorted_table_twice(monkeypatch, tmp_path):
    monkeypatch.setattr(shards_module, "relax", fake_relax)
    monkeypatch.setattr("scripts.catalogue.build.load_chgnet", lambda version: None)
    monkeypatch.setattr("scripts.catalogue.build.version", lambda package: "0")  # chgnet need not be installed
    monkeypatch.setattr("scripts.catalogue.build.known_candidates", lambda settings: ([], {}, {"too large": 5}))
    settings = CatalogueSettings(sampling_fraction=0.02, max_energy_above_hull=100, min_formation_energy=-1000)
    first = build_catalogue(settings, tmp_path / "a.parquet", tmp_path / "one")
    second = build_catalogue(settings, tmp_path / "b.parquet", tmp_path / "two")
    assert first.equals(second)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert first.schema.names == SCHEMA.names
    assert first["material_id"].to_pylist() == sorted(first["material_id"].to_pylist())
    metadata = read_metadata(tmp_path / "a.parquet")
    assert metadata["counts"]["crystals kept"] == first.num_rows
    assert metadata["counts"]["not relaxed at all"] == {"too large": 5}


def test_a_table_of_another_origin_is_refused(tmp_path):
    pq.write_table(SCHEMA.empty_table(), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="it is not a catalogue"):
        read_metadata(tmp_path / "other.parquet")
