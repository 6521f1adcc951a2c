"""The store: one label per material and settings, whoever writes; its format; its size."""

import json
import threading
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dft_validation.labels.reserved import Reserved
from dft_validation.labels.store import LabelStore, additions_of, label_of_document, without_crystal
from dft_validation.results.outcomes import FailedJob, JobStatus
from dft_validation.settings import DftSettings
from mat2spec.labels.edos_store import LATER_COLUMNS, STORE_SCHEMA, read_edos_store
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID, SpectralGrid
from mat2spec.tables.files import TableError
from screening.sources.known_edos import known_edos_ids

SETTINGS = DftSettings()


def label(material_id, **changes):
    row = {
        "material_id": material_id,
        "formula": "Na",
        "nsites": 1,
        "lattice": (3 * np.eye(3)).ravel().tolist(),
        "frac_coords": [0.0, 0.0, 0.0],
        "atomic_numbers": [11],
        "edos": np.linspace(0, 1, 128).tolist(),
        "is_metal": True,
        "settings_hash": SETTINGS.settings_hash,
    }
    numbers = ("band_gap", "efermi", "energy_zero_ev", "covered_to_ev", "cpu_seconds")
    texts = set(STORE_SCHEMA.names) - row.keys() - set(numbers) - set(LATER_COLUMNS)
    return {**dict.fromkeys(numbers, 0.0), **dict.fromkeys(texts, ""), **row, **changes}


def add(store, *rows, reserved=None):
    return store.add(additions_of(rows, [], SETTINGS), reserved or Reserved())


@pytest.fixture
def store(tmp_path):
    return LabelStore(tmp_path / "labels" / "store.parquet")


def test_a_label_is_known_by_its_material_and_its_settings(store):
    assert add(store, label("b"), label("a", cpu_seconds=1.0)) == 2
    assert add(store, label("a", cpu_seconds=9.0), label("a", settings_hash="other")) == 1
    rows = store.labels().to_pylist()
    assert [(row["material_id"], row["cpu_seconds"]) for row in rows if row["settings_hash"] != "other"] == [
        ("a", 1.0),
        ("b", 0.0),
    ]
    assert len(rows) == 3
    assert known_edos_ids(store.path) == {"a", "b"}


def test_the_file_says_what_its_numbers_mean_and_what_was_kept_apart(store):
    add(store, label("a"))
    add(store, label("b"), reserved=Reserved(sha256="123"))
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema(store.path).metadata.items()}
    assert SpectralGrid.from_json(metadata["spectral_grid"]) == EDOS_GRID
    assert json.loads(metadata["dft_settings"]) == {SETTINGS.settings_hash: SETTINGS.physics()}
    assert json.loads(metadata["kept_apart"]) == ["123", "no list of reserved materials"]
    assert "split_of_formula" in metadata["split"]


def test_what_others_wrote_into_the_metadata_stays(store):
    add(store, label("a"))
    pq.write_table(
        store.labels().replace_schema_metadata({"spectral_grid": EDOS_GRID.to_json(), "licence": "CC BY"}), store.path
    )
    add(store, label("b"))
    assert pq.read_schema(store.path).metadata[b"licence"] == b"CC BY"


def test_two_writers_lose_nothing(store):
    writers = [
        threading.Thread(target=lambda start=start: [add(store, label(f"{start}-{i}")) for i in range(10)])
        for start in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(store.labels()) == 30


def test_the_newest_failure_counts_until_there_is_a_label(store):
    failed = FailedJob("a", "Na", JobStatus.CRASHED, "first", "gpaw", "PBE", "unpolarised", SETTINGS.settings_hash)
    store.add(additions_of([], [failed], SETTINGS), Reserved())
    store.add(additions_of([], [replace(failed, reason="second")], SETTINGS), Reserved())
    assert store.failures()["reason"].to_pylist() == ["second"]
    add(store, label("a"))
    assert len(store.failures()) == 0


def test_eight_hundred_labels_fit_into_five_megabytes(store):
    rng = np.random.default_rng(0)
    rows = [
        label(
            f"material-{i}",
            edos=rng.random(128).tolist(),
            lattice=rng.random(9).tolist(),
            frac_coords=rng.random(24).tolist(),
            atomic_numbers=[11] * 8,
        )
        for i in range(800)
    ]
    add(store, *rows)
    assert store.path.stat().st_size < 2_000_000


def test_a_file_that_is_not_a_store_is_not_overwritten(store):
    store.path.parent.mkdir()
    pq.write_table(pa.table({"material_id": ["a"]}), store.path)
    with pytest.raises(TableError, match="lacks the column"):
        add(store, label("b"))
    assert pq.read_table(store.path).column_names == ["material_id"]


def test_spectra_on_another_grid_are_refused(store):
    add(store, label("a"))
    pq.write_table(store.labels().replace_schema_metadata({"spectral_grid": PHDOS_GRID.to_json()}), store.path)
    with pytest.raises(TableError, match="another grid"):
        read_edos_store(store.path)


def test_every_column_of_the_schema_is_filled(fake_engine, crystals, settings):
    from dft_validation import calculate_edos

    document = calculate_edos(crystals.structure(0), "na", settings)
    row = label_of_document(document, crystals, 0, "crystals-1", "random")
    assert set(row) == set(STORE_SCHEMA.names)
    assert pa.Table.from_pylist([row], schema=STORE_SCHEMA).num_rows == 1


class TestShards:
    @pytest.fixture
    def shards(self, tmp_path, monkeypatch):
        monkeypatch.setattr("dft_validation.labels.store.SHARD_SIZE", 3)
        return LabelStore(tmp_path / "shards")

    def test_only_the_last_shard_grows(self, shards):
        add(shards, label("a"), label("b"))
        add(shards, label("c"), label("d"), label("b"))
        first, second = sorted(shards.path.glob("*.parquet"))
        full = first.read_bytes()
        assert [len(pq.read_table(shard)) for shard in (first, second)] == [3, 1]
        assert add(shards, label("e")) == 1
        assert first.read_bytes() == full
        assert shards.labels()["material_id"].to_pylist() == ["a", "b", "c", "d", "e"]
        assert read_edos_store(shards.path).equals(shards.labels())

    def test_a_shard_left_half_written_is_not_read(self, shards):
        add(shards, label("a"))
        (shards.path / ".labels-0000.parquet.partial").write_bytes(b"PAR1")
        assert shards.labels()["material_id"].to_pylist() == ["a"]

    def test_failures_lie_apart_and_end_with_a_label(self, shards):
        failure = FailedJob("a", "Na", JobStatus.UNCONVERGED, "no", "gpaw", "PBE", "mp", SETTINGS.settings_hash)
        shards.add(additions_of([], [failure], SETTINGS), Reserved())
        assert shards.failures()["reason"].to_pylist() == ["no"]
        assert shards.labels().num_rows == 0
        add(shards, label("a"))
        assert shards.failures().num_rows == 0


def test_a_label_by_id_counts_states_per_primitive_cell_and_names_its_structure(fake_engine, settings):
    from pymatgen.core import Lattice, Structure

    from dft_validation import calculate_edos
    from mat2spec.crystals.arrays import Crystals
    from mat2spec.crystals.identity import structure_hash

    doubled = Structure(Lattice.cubic(3.0), ["Na"], [[0, 0, 0]]).make_supercell([2, 1, 1], in_place=False)
    crystals = Crystals.from_structures([doubled], ["na"])
    document = calculate_edos(doubled, "na", settings)
    row = label_of_document(document, crystals, 0, "crystals-1", "random")
    bare = without_crystal(row, document)
    assert (row["nsites"], bare["nsites"], bare["lattice"]) == (2, 1, None)
    np.testing.assert_allclose(np.asarray(bare["edos"]) * 2, row["edos"], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(bare["edos_fine"]) * 2, row["edos_fine"], rtol=2e-3)
    assert bare["structure_hash"] == structure_hash(crystals.cell(0))
