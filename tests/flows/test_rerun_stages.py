"""Reruns over a source that changes: only what is new is predicted, published eDOS validate previous predictions."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.commands.screen import screen
from flows.settings_layers import load_settings
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.files import TableError
from screening.report.news import new_materials
from screening.runs.folder import RunFolder
from screening.runs.record import latest_run, list_runs
from screening.runs.schemas import TableName
from tests.flows.fake_models import flat_spectrum, use_fake_models

GAPPED = ("mp-1", "mp-3")


def crystal(material_id, length=4.0):
    return {
        "material_id": material_id,
        "lattice": (np.eye(3) * length).ravel().tolist(),
        "frac_coords": [0.0] * 3 + [0.5] * 3,
        "atomic_numbers": [22, 7],
        "energy_above_hull": 0.0,
        "band_gap": 0.0,
    }


@pytest.fixture
def source(tmp_path):
    """Writes a table of crystals in place of the previous one."""
    path = tmp_path / "crystals.parquet"

    def write(*rows, **known):
        table = pa.Table.from_pylist([row | {"has_edos": known.get("known") == row["material_id"]} for row in rows])
        pq.write_table(table, path)

    write.path = path
    return write


@pytest.fixture
def predicted(monkeypatch):
    """Materials predicted so far, by a model that knows the answer of `GAPPED`."""
    return use_fake_models(monkeypatch, lambda material_id, _: flat_spectrum(material_id in GAPPED))


@pytest.fixture
def settings_for(tmp_path, source):
    """Settings of a run without DFT, with more assignments."""

    def make(*assignments):
        common = ["source.kind=parquet", f"source.path={source.path}", f"results_dir={tmp_path / 'results'}"]
        return load_settings(None, [*common, "run_dft=false", *assignments])

    return make


def test_only_new_and_changed_materials_are_predicted_again(source, settings_for, predicted):
    source(crystal("mp-1"), crystal("mp-2"))
    first = screen(settings_for("only_new=true"))
    assert predicted == ["mp-1", "mp-2"]
    source(crystal("mp-1"), crystal("mp-2", 4.5), crystal("mp-3"))
    second = screen(settings_for("only_new=true"))
    assert predicted == ["mp-1", "mp-2", "mp-2", "mp-3"]
    changes = second.read_table(TableName.CHANGES)
    assert dict(zip(changes["material_id"], changes["change"], strict=True)) == {
        "mp-2": "structure changed",
        "mp-3": "new",
    }
    assert first.has_table(TableName.CLASSIFICATIONS), "previous runs are kept"
    assert latest_run(second.path.parent) == second.path


def test_a_rerun_with_nothing_new_says_so_and_leaves_everything_as_it_was(source, settings_for, predicted, capsys):
    source(crystal("mp-1"), crystal("mp-2"))
    run = screen(settings_for())
    predicted.clear()
    assert screen(settings_for("only_new=true")) is None
    assert predicted == []
    assert "Nothing is new" in capsys.readouterr().out
    results = run.path.parent
    assert [info["run_id"] for info in list_runs(results)] == [run.run_id]
    assert latest_run(results) == run.path


def test_a_full_run_is_a_full_run(source, settings_for, predicted):
    source(crystal("mp-1"), crystal("mp-2"))
    screen(settings_for())
    again = screen(settings_for())
    assert predicted == ["mp-1", "mp-2"] * 2
    assert again.read_table(TableName.CHANGES).empty


def write_store(path, *rows, metadata=None):
    """A store of spectra as `mat2spec fetch edos` writes it, as far as a comparison reads it."""
    table = pa.Table.from_pylist(list(rows))
    kept = {"spectral_grid": EDOS_GRID.to_json(), "reference": "materials-project"} | (metadata or {})
    pq.write_table(table.replace_schema_metadata(kept), path)


def published(material_id, gapped, u_values="{}", length=4.0):
    return crystal(material_id, length) | {
        "edos": flat_spectrum(gapped).tolist(),
        "functional": "PBE",
        "spin": "collinear",
        "u_values": u_values,
    }


def test_an_edos_published_meanwhile_validates_the_previous_prediction(source, settings_for, predicted, tmp_path):
    crystals = [crystal(f"mp-{number}") for number in range(1, 6)]
    source(*crystals)
    first = screen(settings_for())
    store = tmp_path / "store.parquet"
    write_store(
        store,
        published("mp-1", gapped=True),
        published("mp-2", gapped=True),
        published("mp-3", gapped=False, u_values='{"Ti": 3.0}'),
        published("mp-4", gapped=True, length=4.5),
        published("mp-99", gapped=True),
    )
    source(*crystals)
    second = screen(settings_for("only_new=true", f"source.edos_store={store}"))
    assert predicted == [f"mp-{number}" for number in range(1, 6)], "nothing is predicted again"
    assert set(second.read_table(TableName.CHANGES)["change"]) == {"gained an eDOS"}
    news = new_materials(second.path.parent)
    assert set(news["material_id"]) == {"mp-1", "mp-2", "mp-3", "mp-4"}
    assert set(news["formula"]) == {"TiN"}, "known from the previous run"

    results = second.read_table(TableName.PUBLISHED_RESULTS).set_index("material_id")
    assert results["status"].to_dict() == {"mp-1": "ok", "mp-2": "ok", "mp-3": "ok", "mp-4": "structure_changed"}
    assert set(results["former_run_id"]) == {first.run_id}
    table = second.read_table(TableName.PRECISION_RECALL)
    table = table[table["target"] == "is_gapped_metal"].set_index("u_values")
    assert set(table["reference"]) == {"materials-project"}
    assert set(table["spin"]) == {"collinear"}
    # Without U: mp-1 found, mp-2 missed, mp-4 has another structure. With U: mp-3 was wrong.
    without_u, with_u = table.loc["{}"], table.loc['{"Ti": 3.0}']
    assert (without_u["tp"], without_u["fn"], without_u["fp"], without_u["n_failed"]) == (1, 1, 0, 1)
    assert (with_u["tp"], with_u["fp"], with_u["n"]) == (0, 1, 1)
    # The next release brings nothing.
    assert screen(settings_for("only_new=true", f"source.edos_store={store}")) is None


def test_an_edos_that_went_away_makes_a_candidate(source, settings_for, predicted):
    source(crystal("mp-1"), crystal("mp-2"), known="mp-2")
    screen(settings_for())
    source(crystal("mp-1"), crystal("mp-2"))
    second = screen(settings_for("only_new=true"))
    assert predicted == ["mp-1", "mp-2"]
    assert second.read_table(TableName.CHANGES)[["material_id", "change"]].to_numpy().tolist() == [
        ["mp-2", "lost its eDOS"]
    ]


def test_a_store_on_an_unknown_grid_is_refused(source, settings_for, predicted, tmp_path):
    source(crystal("mp-1"))
    screen(settings_for())
    store = tmp_path / "store.parquet"
    write_store(store, published("mp-1", gapped=True), metadata={"spectral_grid": '{"name": "edos"}'})
    with pytest.raises(TableError, match="unknown grid"):
        screen(settings_for(f"source.edos_store={store}", "only_new=true"))


def test_a_run_that_ended_is_not_discarded(source, settings_for, predicted):
    source(crystal("mp-1"))
    run = screen(settings_for())
    with pytest.raises(RuntimeError, match="is finished"):
        RunFolder.attach(run.path).discard()
