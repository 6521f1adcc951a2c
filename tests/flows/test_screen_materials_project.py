"""A screen of the Materials Project, by the command line and as a Prefect flow; the key is left nowhere."""

from __future__ import annotations

import json

import pytest

from flows import pipeline
from flows.cli.program import run
from flows.settings_layers import load_settings
from screening.runs.folder import RunFolder
from screening.runs.schemas import TableName
from screening.sources.materials_project import session
from screening.sources.materials_project.errors import ApiKeyError
from tests.screening.sources.materials_project.loopback import (
    GOOD_KEY,
    SUMMARY,
    LoopbackServer,
    everything_written,
    legacy_id,
    make_documents,
)

N_DOCUMENTS = 24


@pytest.fixture(scope="module")
def running_server():
    documents = make_documents(N_DOCUMENTS)
    documents[2] = {**documents[2], "structure": None}
    server = LoopbackServer(documents).start()
    yield server
    server.stop()


@pytest.fixture
def server(running_server, tmp_path, monkeypatch):
    running_server.reset()
    monkeypatch.setattr(session, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr("screening.sources.materials_project.api_key.SETTINGS", {})
    monkeypatch.setenv("MP_API_KEY", GOOD_KEY)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return running_server


@pytest.fixture
def assignments(server, tmp_path):
    return [
        f"source.mp_endpoint={server.endpoint}",
        "source.mp_page_size=10",
        "source.mp_requests_per_second=25",
        "prediction.device=cpu",
        "prediction.models=[mat2spec, gatgnn]",
        f"results_dir={tmp_path / 'results'}",
    ]


@pytest.fixture
def command(assignments):
    return [
        "screen",
        "--source",
        "materials-project",
        "--no-dft",
        *(word for assignment in assignments for word in ("--set", assignment)),
    ]


def test_the_command_screens_the_materials_project(server, command, tmp_path, capsys):
    assert run(command) == 0
    output = capsys.readouterr()
    folder = RunFolder.attach(tmp_path / "results" / "latest")
    assert folder.info["db_version"] == "2026.11.1"
    assert folder.info["settings"]["source"]["kind"] == "materials-project"
    assert folder.info["stages"]["find_candidates"]["counts"]["materials"] == N_DOCUMENTS
    # Metals (every second) without an eDOS (every third has one).
    expected = [legacy_id(index) for index in range(N_DOCUMENTS) if index % 2 == 0 and index % 3]
    assert folder.read_table(TableName.CANDIDATES).material_id.tolist() == expected
    failed = folder.read_table(TableName.PREDICTIONS).query("status != 'ok'")
    assert set(failed.material_id) == {legacy_id(2)}
    assert failed.reason.str.contains("not finite|lattice").all()

    assert GOOD_KEY.encode() not in everything_written(tmp_path)
    assert GOOD_KEY not in output.out + output.err + json.dumps(folder.info)


def test_without_a_key_the_command_stops_before_any_work(server, command, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MP_API_KEY")
    assert run(command) == 1
    assert "none was found. Get one from https://next-gen.materialsproject.org/api" in capsys.readouterr().err
    assert not server.requests
    assert not (tmp_path / "results").exists()


def test_a_refused_key_is_not_in_what_the_command_says(server, command, tmp_path, monkeypatch, capsys):
    wrong = "wrong0key0wrong0key0wrong0key001"
    monkeypatch.setenv("MP_API_KEY", wrong)
    assert run([*command, "--dry-run"]) == 1
    output = capsys.readouterr()
    assert "rejects the API key" in output.err
    assert wrong not in output.out + output.err
    assert wrong.encode() not in everything_written(tmp_path)


def test_a_key_in_the_settings_is_refused_without_repeating_it(command, capsys):
    assert run([*command, "--set", f"source.mp_api_key={GOOD_KEY}"]) == 1
    output = capsys.readouterr()
    assert "Unknown setting" in output.err
    assert GOOD_KEY not in output.out + output.err


def test_a_run_stays_with_its_version_of_the_database(server, assignments, monkeypatch):
    settings = load_settings(None, ["source.kind=materials-project", "run_dft=false", *assignments])
    with pipeline.open_run(settings) as folder:
        server.db_version = "2026.12.1"
        server.requests.clear()
        monkeypatch.delenv("MP_API_KEY")
        for name in ("find_candidates", "find_published", "predict_spectra"):
            pipeline.run_stage(pipeline.BY_NAME[name], folder, settings)
        assert not server.requests
        assert folder.info["db_version"] == "2026.11.1"


def test_ctrl_c_while_reading_keeps_the_pages(server, command, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("screening.sources.materials_project.reading.Reading._scan", interrupt)
        patch.setattr("screening.sources.materials_project.reading.Reading._read_by_name", interrupt)
        assert run(command) == 130
    assert "run the same command again" in capsys.readouterr().err
    server.requests.clear()
    assert run([*command, "--dry-run"]) == 0
    assert not [query for query in server.asked(SUMMARY) if "_page=" in query]


@pytest.mark.slow
def test_the_flow_leaves_the_key_neither_in_parameters_nor_artifacts_nor_logs(
    server, assignments, tmp_path, monkeypatch, capfd
):
    from prefect.testing.utilities import prefect_test_harness

    from flows.screen import screen_gapped_metals

    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    given = ["source.kind=materials-project", "run_dft=false", *assignments]
    settings = load_settings(None, given)
    assert GOOD_KEY not in settings.model_dump_json()
    with prefect_test_harness(server_startup_timeout=120):
        path = screen_gapped_metals(set=given)
        monkeypatch.delenv("MP_API_KEY")
        with pytest.raises(ApiKeyError):
            screen_gapped_metals(set=given)
        database = _prefect_database()
    assert RunFolder.attach(tmp_path / "results" / "latest").path == RunFolder.attach(tmp_path / path).path
    assert b"screen-gapped-metals" in database
    output = capfd.readouterr()
    assert GOOD_KEY.encode() not in database + everything_written(tmp_path)
    assert GOOD_KEY not in output.out + output.err


def _prefect_database():
    """All bytes of the server's database: parameters, artifacts, states, logs."""
    from pathlib import Path

    from prefect.settings import get_current_settings

    url = get_current_settings().server.database.connection_url
    file = Path(url.get_secret_value().partition(":///")[2])
    return b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
