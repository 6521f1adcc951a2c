"""The API key: where it comes from, checked before any work, and shown nowhere."""

from __future__ import annotations

import logging
import traceback

import pytest
from pydantic import SecretStr

from screening.settings import FilterSettings, SourceSettings
from screening.sources.materials_project.api_key import KEY_PAGE, hide, load_api_key
from screening.sources.materials_project.client import MaterialsProject
from screening.sources.materials_project.errors import ApiKeyError, MaterialsProjectError, ServerUnreachableError
from screening.sources.opening import open_source
from tests.screening.sources.materials_project.loopback import GOOD_KEY, HEARTBEAT, everything_written

OTHER_KEY = "another0key0another0key0another0"


def test_the_argument_overrides_the_environment_and_pymatgen(monkeypatch):
    monkeypatch.setattr("screening.sources.materials_project.api_key.SETTINGS", {"PMG_MAPI_KEY": "p" * 32})
    assert load_api_key().get_secret_value() == "p" * 32
    monkeypatch.setenv("MP_API_KEY", f" {'e' * 32}\n")
    assert load_api_key().get_secret_value() == "e" * 32
    assert load_api_key(GOOD_KEY).get_secret_value() == GOOD_KEY
    assert load_api_key(SecretStr(GOOD_KEY)).get_secret_value() == GOOD_KEY


def test_a_missing_key_is_reported_before_any_work_with_where_to_get_one(server, source_settings):
    with pytest.raises(ApiKeyError, match=f"none was found. Get one from {KEY_PAGE}") as caught:
        open_source(source_settings)
    assert "MP_API_KEY" in str(caught.value)
    assert "PMG_MAPI_KEY" in str(caught.value)
    assert "source.kind=materials-project-open" in str(caught.value)
    assert not server.requests
    assert not source_settings.mp_cache_dir.exists()


@pytest.mark.parametrize(
    "key", ["", "short", GOOD_KEY[:31], f"{GOOD_KEY}1", "with a space with a space with a", "ü" * 32]
)
def test_an_impossible_key_is_reported_before_any_work(server, source_settings, key, monkeypatch):
    monkeypatch.setenv("MP_API_KEY", key or " ")
    with pytest.raises(ApiKeyError) as caught:
        open_source(source_settings)
    assert KEY_PAGE in str(caught.value)
    assert not key or key not in str(caught.value)
    assert not server.requests


def test_the_key_is_not_a_setting_of_a_source():
    assert not [name for name in SourceSettings.model_fields if "key" in name]
    with pytest.raises(ValueError, match="api_key"):
        SourceSettings(kind="materials-project", mp_api_key=GOOD_KEY)


def test_reading_leaves_the_key_nowhere(read, tmp_path, caplog, capsys):
    with caplog.at_level(logging.DEBUG):
        source = read()
    output = capsys.readouterr()
    assert GOOD_KEY.encode() not in everything_written(tmp_path)
    assert GOOD_KEY not in caplog.text + output.out + output.err
    assert GOOD_KEY not in repr(vars(source))
    assert "api_key" not in source.path.read_bytes().decode(errors="replace")


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, ApiKeyError), (403, ApiKeyError), (404, MaterialsProjectError), (422, MaterialsProjectError)],
)
def test_a_server_that_repeats_the_key_in_its_error_does_not_get_it_shown(server, read, status, error):
    server.fail(status=status)
    with pytest.raises(error) as caught:
        read()
    # Also not in what --debug prints, with all errors that this one came from.
    assert GOOD_KEY not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_fails_does_not_get_the_key_shown(server, read):
    server.fail(status=500, times=10_000)
    with pytest.raises(ServerUnreachableError) as caught:
        read(mp_patience_s=0.1)
    assert GOOD_KEY not in "".join(traceback.format_exception(caught.value))


def test_the_version_is_public_so_the_key_is_not_sent(server, source_settings):
    seen = []
    server.fail("do", path=HEARTBEAT, action=lambda: seen.append(server.last_headers))
    MaterialsProject(source_settings, SecretStr(GOOD_KEY)).db_version()
    assert seen
    assert "x-api-key" not in seen[0]


def test_a_key_is_hidden_in_a_text():
    assert hide(SecretStr(GOOD_KEY), f"header {GOOD_KEY}!") == "header ********!"


def test_another_key_uses_the_same_cache(server, read):
    first = read()
    server.key = OTHER_KEY
    try:
        assert read(key=OTHER_KEY).path == first.path
    finally:
        server.key = GOOD_KEY


def test_the_default_filters_are_used_where_none_are_given(source_settings, monkeypatch):
    monkeypatch.setenv("MP_API_KEY", GOOD_KEY)
    source = open_source(source_settings, FilterSettings())
    assert source.fingerprint() == open_source(source_settings).fingerprint()
