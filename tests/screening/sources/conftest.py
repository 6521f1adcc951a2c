"""Servers on loopback, and a way to read from them that is quick."""

from __future__ import annotations

import pytest

from screening.settings import FilterSettings, SourceSettings
from screening.sources.materials_project import session
from screening.sources.materials_project.source import open_materials_project
from tests.screening.sources.materials_project.loopback import GOOD_KEY, LoopbackServer, make_documents

N_DOCUMENTS = 130
PAGE_SIZE = 25
ALL = FilterSettings(
    energy_above_hull_max_ev_per_atom=None, band_gap_max_ev=None, n_elements_max=None, n_sites_max=None
)


@pytest.fixture(scope="session")
def running_server():
    server = LoopbackServer(make_documents(N_DOCUMENTS)).start()
    yield server
    server.stop()


@pytest.fixture
def server(running_server):
    """130 documents, every third with an eDOS, every second a metal; as new for every test."""
    running_server.reset()
    documents = running_server.summary.documents, running_server.core.documents
    yield running_server
    running_server.reset()
    running_server.summary.replace(documents[0])
    running_server.core.replace(documents[1])


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(session, "FIRST_WAIT_S", 0.02)
    monkeypatch.delenv("MP_API_KEY", raising=False)
    monkeypatch.setattr("screening.sources.materials_project.api_key.SETTINGS", {})


@pytest.fixture
def source_settings(server, tmp_path):
    return quick_settings(server, tmp_path / "cache")


def quick_settings(server, folder, **changes):
    settings = SourceSettings(
        kind="materials-project",
        mp_endpoint=server.endpoint,
        mp_cache_dir=folder,
        mp_page_size=PAGE_SIZE,
        mp_timeout_s=20,
        mp_patience_s=5,
    )
    # The real server would not like so many a second.
    return settings.model_copy(update={"mp_requests_per_second": 2000.0, **changes})


@pytest.fixture
def read(source_settings):
    """Read the documents that pass some filters; settings can be changed by name."""

    def read_with(filters=ALL, key=GOOD_KEY, progress=lambda done, total: None, **changes):
        return open_materials_project(source_settings.model_copy(update=changes), filters, key, progress)

    return read_with
