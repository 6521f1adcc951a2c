"""The secret of a served API: random, kept, for its owner alone, found by address."""

import pytest

from flows.serve.api_secret import SecretError, find_secret, make_secret, secret_file


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_a_secret_is_random_stays_and_is_private():
    secret = make_secret(4300)
    assert secret == make_secret(4300) != make_secret(4301)
    assert len(secret) > 40
    assert secret_file(4300).stat().st_mode & 0o777 == 0o600


def test_it_is_found_for_this_machine_alone():
    secret = make_secret(4300)
    assert find_secret("http://127.0.0.1:4300/api") == find_secret("http://localhost:4300/api") == secret
    for other in (
        "http://127.0.0.1:4301/api",
        "http://elsewhere.example:4300/api",
        "https://app.prefect.cloud/api",
        None,
    ):
        assert find_secret(other) is None


def test_a_file_that_others_may_read_is_not_trusted():
    make_secret(4300)
    secret_file(4300).chmod(0o644)
    with pytest.raises(SecretError, match="others may read or write it; remove the file"):
        make_secret(4300)
    assert find_secret("http://127.0.0.1:4300/api") is None


def test_without_a_secret_that_is_kept_nothing_is_served(tmp_path, monkeypatch):
    make_secret(4300)
    secret_file(4300).write_text("")
    with pytest.raises(SecretError, match="is empty, as a full disk leaves it; remove the file"):
        make_secret(4300)
    assert find_secret("http://127.0.0.1:4300/api") is None
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(SecretError, match=r"cannot be written to .*-4300\.secret \(Not a directory\); name a folder"):
        make_secret(4300)
