"""Addresses and folders of a server, and its end with the program that serves."""

import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from flows.serve.server import Address, ServerError, _refuse_taken_port, _Server, home_of
from flows.serve.server_process import PARENT_VARIABLE
from flows.settings import ServeSettings

SLEEP = "import os, threading, time; from flows.serve.server_process import end_with, PARENT_VARIABLE; "
SLEEP += "threading.Thread(target=end_with, args=(int(os.environ[PARENT_VARIABLE]),)).start(); print(flush=True); time.sleep(60)"
START = (
    "import os, subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True,"
    "env=os.environ | {sys.argv[2]: str(os.getpid())}, stdout=subprocess.PIPE); child.stdout.readline(); "
    "print(child.pid, flush=True); time.sleep(60)"
)


def test_a_server_ends_with_the_program_that_was_killed():
    command = [sys.executable, "-c", START, SLEEP, PARENT_VARIABLE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        server = psutil.Process(int(program.stdout.readline()))
        assert server.is_running()
        program.kill()
    deadline = time.monotonic() + 20
    while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_browsers_on_other_machines_get_an_address_that_they_can_reach():
    assert Address.of(ServeSettings()) == Address("http://127.0.0.1:4200/api", "http://127.0.0.1:4200")
    everywhere = Address.of(ServeSettings(host="0.0.0.0", port=4300))
    assert everywhere.api_url == "http://127.0.0.1:4300/api"
    assert everywhere.ui_url.startswith("http://")
    assert "0.0.0.0" not in everywhere.ui_url
    public = Address.of(ServeSettings(host="0.0.0.0", public_url="https://lab.example/prefect/"))
    assert public.ui_url == "https://lab.example/prefect"


@pytest.mark.parametrize(
    ("host", "near"), [("::1", "[::1]"), ("::", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("desk", "desk")]
)
def test_programs_of_this_machine_reach_a_server_on_any_kind_of_address(host, near):
    assert Address.of(ServeSettings(host=host)).api_url == f"http://{near}:4200/api"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "::"])
def test_a_port_is_tried_on_addresses_of_ipv6_too(host):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ServerError, match=f"already in use by process {os.getpid()}, "):
            _refuse_taken_port(ServeSettings(host=host, port=port))
    _refuse_taken_port(ServeSettings(host=host, port=port))


@pytest.mark.parametrize("seconds_to_start", [1, 59])
def test_a_server_that_keeps_dying_is_given_up_however_long_it_takes_to_start(seconds_to_start, tmp_path, monkeypatch):
    now, n_starts, told = [0.0], [0], []
    environment = {"PREFECT_API_URL": "http://127.0.0.1:4200/api", "PREFECT_UI_URL": "http://127.0.0.1:4200"}
    server = _Server(ServeSettings(), environment, tmp_path / "server.log")

    def start():
        now[0] += seconds_to_start
        n_starts[0] += 1
        server._process = SimpleNamespace(poll=die)

    def die():
        now[0] += 2
        return 9

    monkeypatch.setattr(server, "start", start)
    monkeypatch.setattr("flows.serve.server.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("flows.serve.server.os.kill", lambda *of: told.append(of))
    monkeypatch.setattr("flows.serve.server.POLL_INTERVAL_S", 0.0)
    start()
    server.watch()
    assert n_starts == [3]
    assert told == [(os.getpid(), signal.SIGTERM)]
    assert "ended 3 times in a row, the last time with code 9. Serving has stopped" in server.given_up


def test_a_process_is_named_only_where_it_holds_the_address():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ServerError, match=rf"already in use by process {os.getpid()}, "):
            _refuse_taken_port(ServeSettings(port=port))
        # An address for documentation, of no machine.
        with pytest.raises(ServerError, match="Cannot assign requested address") as refused:
            _refuse_taken_port(ServeSettings(host="192.0.2.1", port=port))
        assert "by process" not in str(refused.value)


def test_each_results_folder_has_its_own_server_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    assert home_of(ServeSettings(), tmp_path / "results") == tmp_path / "results" / "prefect"
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "given"))
    assert home_of(ServeSettings(), tmp_path / "results") == tmp_path / "given"
    assert home_of(ServeSettings(home=tmp_path / "set"), tmp_path / "results") == tmp_path / "set"
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "given")
