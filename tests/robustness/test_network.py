"""Proxies and certificates of the environment that cannot be used are named as such, at once."""

from __future__ import annotations

import pytest
import requests
from pydantic import SecretStr

from screening.settings import MaterialsProjectSettings
from screening.sources.materials_project.errors import MaterialsProjectError
from screening.sources.materials_project.session import ApiSession, _retry_after

PROXIES = (
    "nonsense://x",
    "http://",
    "http://[::1",
    "http://host:port",
    "socks5://127.0.0.1:9",
    "ftp://x:1",
    "://",
    ":8080",
)


def ask():
    settings = MaterialsProjectSettings(mp_patience_s=1, mp_timeout_s=1)
    ApiSession(settings, SecretStr("a" * 32)).request("GET", "https://127.0.0.1:9/heartbeat")


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_that_is_no_address_is_not_blamed_on_the_settings(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(MaterialsProjectError, match="proxy that HTTPS_PROXY") as refused:
        ask()
    assert "mp_endpoint" not in str(refused.value)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_that_are_not_there_are_a_sentence(monkeypatch, tmp_path, name):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)  # which comes first
    monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
    with pytest.raises(MaterialsProjectError, match=r"ca\.pem.*unset REQUESTS_CA_BUNDLE"):
        ask()


WAITS = ("\xb2", "-1", "soon", "Mon, 01 Jan 0001 00:00:00 -0000", "Mon, 99 Foo 2026", "9" * 500, "")


@pytest.mark.parametrize("wait", WAITS)
def test_odd_waits_of_a_server_are_numbers_or_none(wait):
    answer = requests.Response()
    answer.headers["Retry-After"] = wait
    seconds = _retry_after(answer)
    assert seconds is None or seconds >= 0
