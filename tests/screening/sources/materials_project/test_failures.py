"""Everything that goes wrong between here and the Materials Project: nothing is lost, and a sentence says what to do."""

from __future__ import annotations

import threading
import time
from email.utils import formatdate
from itertools import pairwise

import pyarrow.parquet as pq
import pytest
import requests
from filelock import FileLock

from screening.settings import SourceSettings
from screening.sources.materials_project import session
from screening.sources.materials_project import source as source_module
from screening.sources.materials_project.errors import (
    ApiKeyError,
    DatabaseChangedError,
    MaterialsProjectError,
    ServerUnreachableError,
)
from tests.screening.sources.conftest import N_DOCUMENTS
from tests.screening.sources.materials_project.loopback import GOOD_KEY, HEARTBEAT, SUMMARY, free_port

WRONG_KEY = "x" * 32
# The server counts four times before the first of six pages is asked for, and once after the last.
IN_THE_PAGES = 6


def n_pages_asked(server):
    return sum("_page=" in query for query in server.asked(SUMMARY))


def whole(source):
    return len(source.properties()) == N_DOCUMENTS


def test_a_wrong_key_is_refused_with_where_to_get_one(read):
    with pytest.raises(ApiKeyError, match=r"rejects the API key \(status 401\).*next-gen.materialsproject.org/api"):
        read(key=WRONG_KEY)


def test_a_forbidden_key_is_refused_at_once(server, read):
    server.fail(status=403, times=99)
    with pytest.raises(ApiKeyError, match="status 403"):
        read()
    assert len(server.asked(SUMMARY)) == 1


def test_a_server_under_maintenance_is_not_the_fault_of_the_key(server, read):
    server.fail(status=403, path=HEARTBEAT, times=99)
    server.fail(status=403, times=99)
    with pytest.raises(MaterialsProjectError, match="refuses access from here"):
        read()


@pytest.mark.parametrize("status", [401, 403])
def test_a_forbidden_heartbeat_does_not_stop_the_reading(server, read, status):
    server.fail(status=status, path=HEARTBEAT, times=99)
    source = read()
    assert whole(source)
    assert source.db_version() == "2026.11.1"


@pytest.mark.parametrize(
    ("status", "words"),
    [(407, "proxy requires a login"), (511, "proxy requires a login"), (404, "web page instead of data")],
)
def test_what_a_network_says_is_not_what_the_database_says(server, read, status, words):
    server.fail("page", status=status, times=99)
    with pytest.raises(MaterialsProjectError, match=words):
        read()


@pytest.mark.parametrize("body", ["<html>Log in</html>", "{1: not JSON}", "", "[]", "null", '{"data": [}'])
@pytest.mark.parametrize("path", [HEARTBEAT, SUMMARY])
def test_a_malformed_answer_is_requested_again_and_then_gives_a_sentence(server, read, tmp_path, path, body):
    fault = server.fail("page", path=path, status=200, body=body)
    assert whole(read())
    assert fault.times == 0
    server.fail("page", path=path, status=200, body=body, times=999)
    with pytest.raises(ServerUnreachableError, match=r"web page|not JSON|truncated"):
        read(mp_patience_s=0.2, mp_cache_dir=tmp_path / "other")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_transient_error_is_retried(server, read, status):
    fault = server.fail(status=status, times=3, skip=IN_THE_PAGES)
    assert whole(read())
    assert fault.times == 0


def test_too_many_requests_wait_as_long_as_the_server_says(server, read):
    server.fail(status=429, headers={"Retry-After": "1"}, skip=IN_THE_PAGES)
    server.requests.clear()
    assert whole(read())
    times = [when for when, path, _ in server.requests if path == SUMMARY]
    # No thread sends a request in that second, except those whose request was under way.
    assert max(later - earlier for earlier, later in pairwise(times)) > 0.85


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), (formatdate(time.time() + 1e6, usegmt=True), 1e6), (formatdate(0, usegmt=True), 0.0), ("soon", None)],
    ids=["a number", "a date", "a date in the past", "neither"],
)
def test_the_wait_may_be_a_number_or_a_date(text, seconds):
    response = requests.Response()
    response.headers["Retry-After"] = text
    assert session._retry_after(response) == (None if seconds is None else pytest.approx(seconds, abs=3600))


def test_a_wait_beyond_all_patience_is_an_error_with_the_seconds(server, read):
    server.fail(status=429, headers={"Retry-After": "3600"}, times=99)
    with pytest.raises(ServerUnreachableError, match=r"status 429.*asks to wait 3600 s"):
        read()


def test_a_persistent_error_ends_after_the_patience(server, read):
    server.fail(status=500, times=10_000)
    with pytest.raises(ServerUnreachableError, match=r"answered with status 500, for .* run the same command again"):
        read(mp_patience_s=0.3)


def test_a_bad_request_is_not_repeated(server, read):
    server.fail(status=422, times=99)
    with pytest.raises(MaterialsProjectError, match=r"does not understand the query .status 422"):
        read()
    assert len(server.asked(SUMMARY)) == 1


def test_a_slow_request_is_repeated(server, read):
    fault = server.fail("delay", seconds=1.0, skip=IN_THE_PAGES)
    assert whole(read(mp_timeout_s=0.6))
    assert fault.times == 0
    assert n_pages_asked(server) == 7


def test_a_server_that_never_answers_is_given_up_on(server, read):
    server.fail("delay", path=HEARTBEAT, seconds=0.5, times=99)
    with pytest.raises(ServerUnreachableError, match=r"did not answer within 0.1 s"):
        read(mp_timeout_s=0.1, mp_patience_s=0.3)


def test_a_truncated_page_is_read_again(server, read):
    fault = server.fail("cut", skip=IN_THE_PAGES, times=2)
    assert whole(read())
    assert fault.times == 0
    assert n_pages_asked(server) == 8


def test_an_unreachable_address_is_detected_early(read):
    start = time.monotonic()
    with pytest.raises(ServerUnreachableError, match="could not be reached"):
        read(mp_endpoint=f"http://127.0.0.1:{free_port()}/", mp_patience_s=0.3)
    assert time.monotonic() - start < 10


def test_a_redirect_is_not_followed(server, read):
    server.fail(status=302, headers={"Location": "http://127.0.0.1:1/"})
    with pytest.raises(MaterialsProjectError, match="redirects the request to another address"):
        read()


def test_an_interrupted_reading_resumes(server, read, tmp_path):
    reference = read(mp_cache_dir=tmp_path / "reference")
    server.requests.clear()
    server.fail(status=500, times=10_000, skip=IN_THE_PAGES)
    with pytest.raises(ServerUnreachableError):
        read(mp_patience_s=0.2, mp_page_size=10, mp_parallel_requests=1)
    n_asked_first = n_pages_asked(server)
    server.reset()
    source = read(mp_page_size=10, mp_parallel_requests=1)
    assert whole(source)
    assert 0 < n_pages_asked(server) < 13
    assert n_asked_first > 0
    assert pq.read_table(source.path).equals(pq.read_table(reference.path))


def test_a_server_that_is_gone_and_comes_back_costs_only_time(server, read):
    def restart():
        server.stop()
        time.sleep(0.5)
        server.start()

    thread = threading.Thread(target=restart)
    server.fail("die", skip=IN_THE_PAGES, action=thread.start)
    try:
        assert whole(read(mp_patience_s=30))
    finally:
        thread.join()
    assert n_pages_asked(server) > 6


def test_a_new_version_in_the_middle_begins_anew_and_mixes_nothing(server, read):
    changed = [{**document, "formula_pretty": "New"} for document in server.summary.documents[:100]]

    def release():
        server.db_version = "2026.12.1"
        server.summary.replace(changed)

    server.fail("do", skip=IN_THE_PAGES, action=release)
    source = read()
    assert source.db_version() == "2026.12.1"
    assert set(source.properties().formula) == {"New"}
    assert len(source.properties()) == 100
    assert not list(source.path.parents[2].glob("2026.11.1/*/pages-*"))


def test_a_database_that_never_rests_is_an_error(server, read, monkeypatch):
    monkeypatch.setattr(source_module, "MAX_ATTEMPTS", 2)
    versions = iter(range(1, 10_000))

    def release():
        server.db_version = f"2027.{next(versions)}"

    server.fail("do", times=10_000, action=release)
    with pytest.raises(DatabaseChangedError, match="changed from version 2027"):
        read()


def test_pages_of_another_version_are_never_used(server, read):
    server.fail(status=500, times=10_000, skip=IN_THE_PAGES)
    with pytest.raises(ServerUnreachableError):
        read(mp_patience_s=0.2)
    server.reset()
    server.db_version = "2026.12.1"
    assert read().db_version() == "2026.12.1"


def test_two_processes_do_not_read_the_same(read, tmp_path):
    source = read()
    source.path.unlink()
    with (
        FileLock(source.path.parent / ".lock"),
        pytest.raises(MaterialsProjectError, match="Another process is reading"),
    ):
        read()


def test_something_else_at_the_address_is_not_taken_for_the_materials_project(server, read):
    server.heartbeat.pop("db_version")
    try:
        with pytest.raises(MaterialsProjectError, match="gives no db_version"):
            read()
    finally:
        server.db_version = "2026.11.1"


def test_the_interval_between_requests_holds_for_all_threads(server, read):
    server.requests.clear()
    read(mp_requests_per_second=40.0)
    times = [when for when, _, _ in server.requests]
    assert len(times) / (times[-1] - times[0]) < 45


@pytest.mark.parametrize(
    "endpoint", ["materialsproject", "http://api.materialsproject.org/", "https://key@api.materialsproject.org/"]
)
def test_unsafe_addresses_are_refused(endpoint):
    with pytest.raises(ValueError, match="mp_endpoint"):
        SourceSettings(kind="materials-project", mp_endpoint=endpoint)


def test_the_good_key_has_the_right_length():
    assert len(GOOD_KEY) == 32
