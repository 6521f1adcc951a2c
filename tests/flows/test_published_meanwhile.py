"""An eDOS that the Materials Project publishes after we predicted it validates the prediction, without DFT of ours."""

from __future__ import annotations

import numpy as np
import pytest

from flows.commands.screen import screen
from flows.settings_layers import load_settings
from screening.runs.schemas import TableName
from screening.sources.materials_project import session
from screening.sources.open_data.published import NO_SPECTRUM
from tests.flows.fake_models import flat_spectrum, use_fake_models
from tests.screening.sources.materials_project.loopback import (
    DB_VERSION,
    GOOD_KEY,
    SUMMARY,
    LoopbackServer,
    legacy_id,
    make_documents,
    stored_id,
)
from tests.screening.sources.materials_project.open_s3 import OpenS3, dos_row

N_DOCUMENTS = 24
# Metals (even) without an eDOS (no multiple of three), and what the model below says of them.
FOUND, MISSED, MOVED_AWAY, OTHER_CELL, STAYS = 2, 4, 8, 10, 14
GAPPED_BY_MODEL = {legacy_id(FOUND)}
VB_GAP = (-2.5, -0.6)


@pytest.fixture(scope="module")
def running():
    servers = LoopbackServer(make_documents(N_DOCUMENTS)).start(), OpenS3()
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def server(running, monkeypatch):
    server, s3 = running
    server.reset()
    server.summary.replace(make_documents(N_DOCUMENTS))
    s3.clear()
    monkeypatch.setenv("MP_API_KEY", GOOD_KEY)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setattr(session, "FIRST_WAIT_S", 0.02)
    return server


@pytest.fixture
def s3(running, server):
    return running[1]


@pytest.fixture(autouse=True)
def _model(monkeypatch):
    """A model that finds some of the gapped metals."""

    use_fake_models(monkeypatch, lambda material_id, _: flat_spectrum(material_id in GAPPED_BY_MODEL, *VB_GAP[::-1]))


@pytest.fixture
def settings_for(server, tmp_path):
    def make(*assignments):
        common = [
            "source.kind=materials-project",
            f"source.mp_endpoint={server.endpoint}",
            f"source.mp_cache_dir={tmp_path / 'cache'}",
            "source.mp_patience_s=1",
            "source.mp_requests_per_second=25",
            f"results_dir={tmp_path / 'results'}",
            "run_dft=false",
            "filters.energy_above_hull_max_ev_per_atom=null",
            "filters.n_elements_max=null",
        ]
        return load_settings(None, [*common, *assignments])

    return make


def with_edos(document, **values):
    return {**document, "dos": {"task_id": document["material_id"]}, **values}


def publish(server, s3, release="2026.12.1"):
    """A release in which four of the predicted metals get an eDOS."""
    documents = list(server.summary.documents)
    for index in (FOUND, MISSED):
        documents[index] = with_edos(documents[index])
    # Its eDOS shows a gap at E_F: the server no longer counts it among the metals.
    documents[MOVED_AWAY] = with_edos(documents[MOVED_AWAY], band_gap=1.5)
    structure = dict(documents[OTHER_CELL]["structure"])
    structure["lattice"] = structure["lattice"] | {"matrix": (1.1 * np.array(structure["lattice"]["matrix"])).tolist()}
    documents[OTHER_CELL] = with_edos(documents[OTHER_CELL], structure=structure)
    server.summary.replace(documents)
    server.db_version = release
    gapped = [dos_row(stored_id(index), gap=VB_GAP) for index in (FOUND, MISSED, OTHER_CELL)]
    s3.write_total_dos([*gapped, dos_row(stored_id(MOVED_AWAY), gap=(-0.1, 1.4)), dos_row(stored_id(0))])


def changes_of(run):
    changes = run.read_table(TableName.CHANGES)
    return dict(zip(changes["material_id"], changes["change"], strict=True))


def test_what_was_published_meanwhile_is_compared_with_what_was_predicted(server, s3, settings_for, tmp_path):
    first = screen(settings_for("only_new=true"))
    assert first.read_table(TableName.PUBLISHED_RESULTS).empty
    publish(server, s3)
    second = screen(settings_for("only_new=true"))
    gained = {legacy_id(index) for index in (FOUND, MISSED, MOVED_AWAY, OTHER_CELL)}
    assert changes_of(second) == dict.fromkeys(gained, "gained an eDOS")

    results = second.read_table(TableName.PUBLISHED_RESULTS).set_index("material_id")
    assert results["status"].to_dict() == dict.fromkeys(gained, "ok") | {legacy_id(OTHER_CELL): "structure_changed"}
    assert set(results["former_run_id"]) == {first.run_id}
    assert not results.loc[legacy_id(MOVED_AWAY), "is_metal"]
    table = second.read_table(TableName.PRECISION_RECALL)
    (row,) = table[table["target"] == "is_gapped_metal"].to_dict("records")
    assert row["reference"] == "materials-project"
    assert row["functional"] == "PBE"
    assert (row["tp"], row["fn"], row["fp"], row["tn"], row["n_failed"]) == (1, 1, 0, 1, 1)
    assert GOOD_KEY.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    server.requests.clear()
    assert screen(settings_for("only_new=true")) is None, "the next rerun finds nothing new"
    assert not server.asked(SUMMARY), "and asks for the version only"


def test_open_data_validate_too_and_need_no_key(server, s3, settings_for, monkeypatch):
    monkeypatch.delenv("MP_API_KEY")
    settings = settings_for("only_new=true", "source.kind=materials-project-open")
    s3.write_summary(server.summary.documents, DB_VERSION)
    screen(settings)
    publish(server, s3)
    s3.write_summary(server.summary.documents, "2026.12.1")
    second = screen(settings)
    assert changes_of(second)[legacy_id(MOVED_AWAY)] == "gained an eDOS"
    table = second.read_table(TableName.PRECISION_RECALL)
    (row,) = table[table["target"] == "is_gapped_metal"].to_dict("records")
    assert (row["reference"], row["tp"], row["fn"], row["fp"], row["tn"]) == ("materials-project", 1, 1, 0, 1)


def test_open_data_that_are_gone_or_late_are_a_row_with_the_reason_and_are_asked_again(
    server, s3, settings_for, caplog
):
    screen(settings_for("only_new=true"))
    publish(server, s3)
    s3.clear()
    second = screen(settings_for("only_new=true"))
    results = second.read_table(TableName.PUBLISHED_RESULTS)
    assert set(results["status"]) == {"not_read"}
    assert results["reason"].str.contains("no Delta table").all()
    assert "4 published eDOS are not compared" in caplog.text
    (row,) = second.read_table(TableName.PRECISION_RECALL).query("target == 'is_gapped_metal'").to_dict("records")
    assert (row["reference"], row["n"], row["n_failed"]) == ("materials-project", 0, 4)

    # In the next release the table is there, but one spectrum is still missing and another is damaged.
    s3.write_total_dos([dos_row(stored_id(FOUND), gap=VB_GAP), dos_row(stored_id(MISSED), efermi=None)])
    server.db_version = "2027.1.1"
    server.summary.replace([*server.summary.documents, *make_documents(N_DOCUMENTS + 5)[-3:]])
    third = screen(settings_for("only_new=true"))
    results = third.read_table(TableName.PUBLISHED_RESULTS).set_index("material_id")
    assert results["status"].to_dict() == {
        legacy_id(FOUND): "ok",
        legacy_id(MISSED): "not_read",
        legacy_id(MOVED_AWAY): "not_read",
        legacy_id(OTHER_CELL): "not_read",
    }
    assert results.loc[legacy_id(MISSED), "reason"] == "Energies, densities or the Fermi energy are missing."
    assert results.loc[legacy_id(MOVED_AWAY), "reason"] == NO_SPECTRUM


def test_a_spectrum_is_read_once(server, s3, settings_for, monkeypatch):
    screen(settings_for("only_new=true"))
    publish(server, s3)
    screen(settings_for("only_new=true"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    server.db_version = "2027.1.1"
    server.summary.replace([*server.summary.documents, *make_documents(N_DOCUMENTS + 5)[-3:]])
    third = screen(settings_for("only_new=true"))
    statuses = third.read_table(TableName.PUBLISHED_RESULTS)["status"]
    assert sorted(statuses) == ["ok", "ok", "ok", "structure_changed"]


def test_with_cells_before_relaxation_the_structure_proves_nothing(server, s3, settings_for):
    settings = settings_for("only_new=true", "source.mp_cells=initial")
    screen(settings)
    publish(server, s3)
    second = screen(settings)
    assert set(second.read_table(TableName.PUBLISHED_RESULTS)["status"]) == {"ok"}
