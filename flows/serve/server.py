"""A Prefect server that runs as long as the program that needs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flows.settings import ServeSettings

# Time for the server to flush its data before it is killed.
STOP_TIMEOUT_S = 20.0
POLL_INTERVAL_S = 0.25


class ServerError(RuntimeError):
    """The Prefect server could not be started or did not stay up; the message says why."""


@contextmanager
def prefect_server(settings: ServeSettings, log_file: Path) -> Iterator[str]:
    """Start a Prefect server with its UI, wait until it answers, and stop it on exit.

    Parameters
    ----------
    settings
        Host, port and maximum wait.
    log_file
        Where the output of the server goes.

    Yields
    ------
    str
        URL of the API, for ``PREFECT_API_URL``.

    Raises
    ------
    ServerError
        If the port is taken or the server does not answer in time.
    """
    _refuse_taken_port(settings)
    url = f"http://{settings.host}:{settings.port}/api"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        # In its own session: Ctrl-C in the terminal reaches only this program, which stops the server last.
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", settings.host, "--port", str(settings.port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_API_URL": url},
        )
        try:
            _wait_until_healthy(process, url, settings.startup_timeout_s, log_file)
            yield url
        finally:
            _stop(process)


def _refuse_taken_port(settings: ServeSettings) -> None:
    try:
        with socket.create_server((settings.host, settings.port)):
            return
    except OSError as error:
        raise ServerError(
            f"The Prefect server cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
            f"stop what is running there or choose another port with --port."
        ) from error


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, timeout_s: float, log_file: Path) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
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
