"""A Prefect server that runs as long as the program that needs it, and is started again if it dies."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from filelock import Timeout

from flows.serve.api_secret import AUTH_VARIABLE, make_secret
from flows.serve.server_process import PARENT_VARIABLE
from mat2spec.tables.locks import take_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.settings import ServeSettings

logger = logging.getLogger(__name__)

# Time for the server to flush its data before it is killed.
STOP_TIMEOUT_S = 20.0
POLL_INTERVAL_S = 0.25
LOG_FILE = "server.log"
LOCK_FILE = "serve.lock"
_PID_FILE = "serve.pid"
_HOME_VARIABLE = "PREFECT_HOME"
# Hosts that stand for all addresses of the machine, and where it reaches itself then.
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104  compared with, not bound
# So many deaths in a row, each within this time after a start, are not repaired by another start.
_MOST_DEATHS, _SHORT_LIFE_S = 3, 60.0


class ServerError(RuntimeError):
    """The Prefect server could not be started or did not stay up; the message says why."""


@dataclass(frozen=True)
class Address:
    """Where a server is found.

    Parameters
    ----------
    api_url
        For programs on this machine.
    ui_url
        For browsers, on other machines too if the server listens to them.
    """

    api_url: str
    ui_url: str

    @classmethod
    def of(cls, settings: ServeSettings) -> Address:
        """Addresses of a server with these settings."""
        host = settings.host
        near = _ANY_ADDRESS.get(host, host)
        far = socket.getfqdn() if host in _ANY_ADDRESS else host
        public = settings.public_url or f"http://{_in_url(far)}:{settings.port}"
        return cls(f"http://{_in_url(near)}:{settings.port}/api", public.rstrip("/"))


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def home_of(settings: ServeSettings, results_dir: Path) -> Path:
    """Folder of the server: as set, as PREFECT_HOME says, or beside the runs, so that no two results share a server."""
    given = settings.home or os.environ.get(_HOME_VARIABLE)
    return (Path(given) if given else results_dir / "prefect").resolve()


def server_environment(settings: ServeSettings, home: Path) -> dict[str, str]:
    """The environment of the server and of all programs that speak to it."""
    address = Address.of(settings)
    secret = make_secret(settings.port) if settings.authentication else ""
    return {
        _HOME_VARIABLE: str(home),
        "PREFECT_API_URL": address.api_url,
        "PREFECT_UI_URL": address.ui_url,
        **({AUTH_VARIABLE: secret} if secret else {}),
    }


@contextmanager
def prefect_server(settings: ServeSettings, home: Path) -> Iterator[dict[str, str]]:
    """Start a Prefect server with its UI, wait until it answers, start it again if it dies, and stop it on exit.

    Parameters
    ----------
    settings
        Host, port, authentication and maximum wait.
    home
        Folder of its database and log, which no other server may use.

    Yields
    ------
    dict
        Environment of the programs that speak to it.

    Raises
    ------
    ServerError
        If another server uses the folder or the port, or it does not answer in time or keeps dying.
    """
    with _alone_in(home):
        _refuse_taken_port(settings)
        environment = server_environment(settings, home)
        server = _Server(settings, environment, home / LOG_FILE)
        try:
            server.start()
            watcher = threading.Thread(target=server.watch, name="prefect-server", daemon=True)
            watcher.start()
            yield environment
        finally:
            server.stop()
        if server.given_up:
            raise ServerError(server.given_up)


class _Server:
    """The process of a server, of which there is one at a time."""

    def __init__(self, settings: ServeSettings, environment: dict[str, str], log_file: Path) -> None:
        self.given_up = ""
        self._settings, self._log_file = settings, log_file
        self._url = environment["PREFECT_API_URL"]
        secret = environment.get(AUTH_VARIABLE)
        self._environment = {
            **os.environ,
            **environment,
            **({"PREFECT_SERVER_API_AUTH_STRING": secret} if secret else {}),
            "PREFECT_UI_API_URL": f"{environment['PREFECT_UI_URL']}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            PARENT_VARIABLE: str(os.getpid()),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopping = threading.Event()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        settings = self._settings
        with self._log_file.open("ab") as log:
            # In its own session: Ctrl-C in the terminal reaches only this program, which stops the server last.
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "flows.serve.server_process"),
                    *("server", "start", "--host", settings.host, "--port", str(settings.port)),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=self._environment,
            )
        _wait_until_healthy(self._process, self._url, settings.startup_timeout_s, self._log_file, self._is_stopping)

    def watch(self) -> None:
        """Start the process again whenever it dies; after too many deaths ask this program to stop."""
        deaths = 0
        started = time.monotonic()
        while not self._is_stopping.wait(POLL_INTERVAL_S):
            assert self._process is not None
            code = self._process.poll()
            if code is None:
                continue
            deaths = deaths + 1 if time.monotonic() - started < _SHORT_LIFE_S else 1
            try:
                if deaths < _MOST_DEATHS:
                    logger.warning("The Prefect server ended with code %s; it is started again.", code)
                    self.start()
                    logger.warning("The Prefect server answers again; runs continue.")
                    started = time.monotonic()
                    continue
                self._give_up(f"The Prefect server ended {deaths} times in a row, the last time with code {code}.")
            except ServerError as error:
                self._give_up(str(error))
            return

    def _give_up(self, sentence: str) -> None:
        if not self._is_stopping.is_set():
            self.given_up = f"{sentence} Serving has stopped; see {self._log_file}. A run that was stopped resumes."
            os.kill(os.getpid(), signal.SIGTERM)

    def stop(self) -> None:
        """End the process."""
        self._is_stopping.set()
        if self._process is not None:
            _stop(self._process)


@contextmanager
def _alone_in(home: Path) -> Iterator[None]:
    """Hold the lock of the folder of a server."""
    pid_file = home / _PID_FILE
    try:
        lock = take_lock(home / LOCK_FILE)
    except Timeout as error:
        holder = pid_file.read_text().strip() if pid_file.is_file() else "unknown"
        raise ServerError(
            f"Another `mat2spec serve`, process {holder}, uses {home}; its runs and schedules are left alone. Stop it, or "
            "serve from another folder with --set results_dir=... or --set serve.home=..., on another --port."
        ) from error
    try:
        pid_file.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()


def _refuse_taken_port(settings: ServeSettings) -> None:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        with socket.create_server((settings.host, settings.port), family=family):
            return
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = f"{os.strerror(error.errno)}{_who_listens(settings.port)}"
        raise ServerError(
            f"The Prefect server cannot listen on {settings.host}:{settings.port} ({reason}); "
            "stop what is running there or choose another port with --port."
        ) from error


def _who_listens(port: int) -> str:
    """The process on a port, as far as the system tells: not of other users."""
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):
            if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections("tcp")):
                return f" by process {process.pid}, {process.info['name']}"
    return ""


def _wait_until_healthy(
    process: subprocess.Popen[bytes], url: str, timeout_s: float, log_file: Path, is_stopping: threading.Event
) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and not is_stopping.is_set():
        if process.poll() is not None:
            raise ServerError(f"The Prefect server exited with code {process.returncode} on startup; see {log_file}.")
        if _is_healthy(url):
            return
        time.sleep(POLL_INTERVAL_S)
    raise ServerError(f"The Prefect server did not answer at {url} within {timeout_s:g} s; see {log_file}.")


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:  # noqa: S310  our own http address
            return answer.status == 200
    except (urllib.error.URLError, OSError):  # not up yet
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, sign)
        try:
            process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
        return
