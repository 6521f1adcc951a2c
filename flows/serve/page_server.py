"""The page of a run on a server of this machine, which predicts the crystals of files that are dropped on it.

It serves this machine alone: the server listens on loopback, answers no request that names another host or comes from the
page of another site, and the page may ask no other server. A file is read as data, from a folder that is removed again.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mat2spec.crystals.readers import ReadStructure, read_structures

HOST = "127.0.0.1"
MAX_UPLOAD_BYTES = 20_000_000
MAX_CRYSTALS = 50
# A browser that sends nothing does not keep a thread.
TIMEOUT_S = 30
FILE_HEADER = "X-Mat2spec-File"

Predict = Callable[[Sequence[ReadStructure]], dict[str, Any]]


class UploadError(ValueError):
    """A file that was sent cannot be predicted; the message says why."""


@contextmanager
def page_server(page: str, predict: Predict, port: int = 0) -> Iterator[ThreadingHTTPServer]:
    """A server of a page, not yet serving; closed in the end.

    Parameters
    ----------
    page
        HTML with the place for uploads: `screening.report.result_page.with_upload`.
    predict
        Returns what the page shows of the crystals of a file.
    port
        Port; 0 for any that is free.
    """

    class Handler(_Handler):
        pass

    Handler.page, Handler.predict, Handler.turn = page.encode(), staticmethod(predict), threading.Lock()
    with ThreadingHTTPServer((HOST, port), Handler) as server:
        server.daemon_threads = True
        yield server


class _Handler(BaseHTTPRequestHandler):
    """Answers the page and predictions, nothing else."""

    page: bytes
    predict: Predict
    # One prediction at a time: models take all cores.
    turn: threading.Lock
    timeout = TIMEOUT_S
    server_version = "mat2spec"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page."""
        if not self._is_from_here():
            self._refuse(HTTPStatus.FORBIDDEN, "This server answers its own machine alone.")
        elif urlsplit(self.path).path == "/":
            self._send(HTTPStatus.OK, self.page, "text/html; charset=utf-8")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is only the page.")

    def do_POST(self) -> None:
        """Predict the crystals of the file in the body."""
        # No form of another page can set a header of its own.
        if not self._is_from_here() or self.path != "/predict" or FILE_HEADER not in self.headers:
            self._refuse(HTTPStatus.FORBIDDEN, "This server predicts only what its own page sends.")
            return
        try:
            size = int(self.headers.get("Content-Length", ""))
        except ValueError:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "The size of the file is missing.")
            return
        if not 0 < size <= MAX_UPLOAD_BYTES:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The file is empty or larger than {MAX_UPLOAD_BYTES // 1_000_000} MB; use `mat2spec predict`.",
            )
            return
        body = self.rfile.read(size)
        try:
            with self.turn:
                answer = type(self).predict(read_upload(unquote(self.headers[FILE_HEADER]), body))
        except ValueError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
            return
        # The browser gets the reason, the terminal the traceback of the thread.
        except Exception:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "The prediction failed; the terminal says why.")
            raise
        text = json.dumps(answer, allow_nan=False)
        self._send(HTTPStatus.OK, text.encode(), "application/json")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the signature of http.server
        """Say nothing about requests."""

    def _is_from_here(self) -> bool:
        """Whether the request names this server and comes from its own page: not from a site whose name leads here."""
        assert isinstance(self.server, ThreadingHTTPServer)
        names = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        return self.headers.get("Host") in names and (origin is None or urlsplit(origin).netloc in names)

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        # What was not read of the body must not be taken for the next request.
        self.close_connection = True
        self._send(status, json.dumps({"error": sentence}).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(body)


def read_upload(name: str, body: bytes) -> list[ReadStructure]:
    """The crystals of a file that was sent, named after it.

    Raises
    ------
    UploadError
        If it holds none that can be used, or too many for a page.
    """
    plain = Path(name.replace("\\", "/")).name or "crystal"
    with tempfile.TemporaryDirectory(prefix="mat2spec-upload-") as folder:
        # Only the ending of the name is used, which says how to read it.
        endings = "".join(Path(plain).suffixes[-2:]) if plain.endswith(".gz") else Path(plain).suffix
        path = Path(folder) / ("crystal" + "".join(letter for letter in endings if letter.isalnum() or letter == "."))
        path.write_bytes(body)
        read = read_structures([path])
        named = [_renamed(entry, str(path), plain) for entry in read]
    if len(named) > MAX_CRYSTALS:
        raise UploadError(f"The file holds {len(named):,} crystals, more than {MAX_CRYSTALS}; use `mat2spec predict`.")
    if all(entry.structure is None for entry in named):
        raise UploadError(named[0].reason)
    return named


def _renamed(entry: ReadStructure, path: str, name: str) -> ReadStructure:
    return replace(entry, name=name + entry.name.removeprefix(path))
