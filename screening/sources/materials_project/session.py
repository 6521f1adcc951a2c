"""Sending requests: rate-limited, retried while that can help, with errors that are sentences.

The resters of mp-api accept the caller's session. This one adds what they lack: one rate limit for all
threads, reliable timeouts, retries over minutes of downtime, detection of truncated answers, and no
redirect that would send the API key to another host.
"""

from __future__ import annotations

import threading
import time
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
import requests
from pydantic import SecretStr
from requests.adapters import HTTPAdapter

from screening.settings import MaterialsProjectSettings
from screening.sources.materials_project.api_key import WHERE_TO_PUT_IT, hide, origin_of
from screening.sources.materials_project.errors import (
    AccessDeniedError,
    ApiKeyError,
    MaterialsProjectError,
    ServerUnreachableError,
)

# Too many requests, and transient errors of servers and gateways.
PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
# Of a proxy, and of a network that is entered by a web page.
_PROXY_STATUSES = frozenset({407, 511})
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
DETAIL_CHARACTERS = 200


class RateLimiter:
    """Lets threads through one at a time at a limited rate; all of them pause when the server says so."""

    def __init__(self, per_second: float, stopped: threading.Event) -> None:
        self._interval = 1.0 / per_second
        self._stopped = stopped
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait for this thread's turn, or until everything is stopped."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._interval
        self._stopped.wait(max(0.0, turn - time.monotonic()))

    def hold(self, seconds: float) -> None:
        """Let no thread through for some seconds."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


_INVALID_ADDRESSES = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)


class ApiSession(requests.Session):
    """A session with the Materials Project.

    Parameters
    ----------
    settings
        Timeouts and rate limit.
    key
        The API key, sent as a header with every request but the heartbeat.
    """

    def __init__(self, settings: MaterialsProjectSettings, key: SecretStr) -> None:
        super().__init__()
        self._settings = settings
        self._key = key
        self._stopped = threading.Event()
        self._limiter = RateLimiter(settings.mp_requests_per_second, self._stopped)
        self.headers["x-api-key"] = key.get_secret_value()
        self.headers["user-agent"] = "mat2spec-screening"
        adapter = HTTPAdapter(pool_maxsize=settings.mp_parallel_requests)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def stop(self) -> None:
        """Stop retrying failed requests: the reading is over."""
        self._stopped.set()

    def request(self, method: str, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request, retrying it while its failure may be transient.

        Parameters
        ----------
        patience_s
            How long to retry; `mp_patience_s` of the settings if not given.

        Raises
        ------
        ApiKeyError
            If the server rejects the key.
        ServerUnreachableError
            If it failed for longer than the patience.
        MaterialsProjectError
            If the server rejects the request itself.
        """
        patience = kwargs.pop("patience_s", self._settings.mp_patience_s)
        kwargs |= {"timeout": self._settings.mp_timeout_s, "allow_redirects": False, "stream": False}
        start, wait = time.monotonic(), FIRST_WAIT_S
        while True:
            failure, pause = self._try(method, url, args, kwargs)
            if isinstance(failure, requests.Response):
                return failure
            pause = wait if pause is None else pause
            if self._stopped.is_set() or time.monotonic() + pause - start > patience:
                raise ServerUnreachableError(_gave_up(failure, time.monotonic() - start, pause, patience))
            self._limiter.hold(pause)
            wait = min(2 * wait, LONGEST_WAIT_S)

    def _try(
        self, method: str, url: str | bytes, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[requests.Response | str, float | None]:
        """The response, or what went wrong and how long the server asks to wait."""
        self._limiter.wait()
        try:
            response = super().request(method, url, *args, **kwargs)
        except requests.RequestException as error:
            return self._failure(error), None
        except OSError as error:  # which requests raises as it is
            raise MaterialsProjectError(
                f"No request can be made from here: {error}. Correct or unset REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, which "
                "name the certificates to trust."
            ) from error
        if response.status_code in PASSING_STATUSES:
            return f"answered with status {response.status_code}", _retry_after(response)
        if response.status_code != requests.codes.ok:
            raise self._refusal(response)
        wrong = _what_is_wrong(response.content)
        return (response, None) if wrong is None else (wrong, None)

    def _failure(self, error: requests.RequestException) -> str:
        """What went wrong in transit, if retrying may help.

        Raises
        ------
        MaterialsProjectError
            If it cannot help.
        """
        if isinstance(error, _INVALID_ADDRESSES) and requests.utils.get_environ_proxies(self._settings.mp_endpoint):
            raise MaterialsProjectError(
                "The proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names cannot be used; write it as in "
                "http://proxy.example.org:8080, or unset the variable."
            ) from error
        if isinstance(error, requests.exceptions.InvalidURL):
            raise MaterialsProjectError("source.mp_endpoint is not a usable address; correct it.") from error
        if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise MaterialsProjectError(
                f"The certificate of {self._settings.mp_endpoint} is not trusted here; a proxy of the network may be "
                "intercepting traffic. Set REQUESTS_CA_BUNDLE to the certificates of your network, and check the clock."
            ) from error
        if isinstance(error, requests.exceptions.ProxyError):
            return "could not be reached: the proxy that HTTPS_PROXY or HTTP_PROXY names does not answer"
        if isinstance(error, requests.Timeout):
            return f"did not answer within {self._settings.mp_timeout_s:g} s"
        return f"could not be reached or closed the connection ({type(error).__name__})"

    def _refusal(self, response: requests.Response) -> MaterialsProjectError:
        status = response.status_code
        if status in {401, 403} and "x-api-key" not in response.request.headers:
            return AccessDeniedError(
                f"The Materials Project refuses access from here (status {status}), with or without a key: it may be "
                "under maintenance, or this network is blocked. Try again later; see https://status.materialsproject.org "
                "for details."
            )
        if status in {401, 403}:
            return ApiKeyError(
                f"The Materials Project rejects the API key{origin_of(self._key)} (status {status}): it is mistyped or was "
                "revoked. "
                f"{WHERE_TO_PUT_IT}"
            )
        if response.is_redirect:
            return MaterialsProjectError(
                f"The Materials Project at {self._settings.mp_endpoint} redirects the request to another address (status "
                f"{status}). This is not followed, as it would pass on the API key; correct source.mp_endpoint."
            )
        if status in _PROXY_STATUSES:
            return MaterialsProjectError(
                f"The network or its proxy requires a login (status {status}). Log in, or give the proxy with user and password in "
                "HTTPS_PROXY."
            )
        if response.content.lstrip().startswith(b"<"):
            return MaterialsProjectError(
                f"{self._settings.mp_endpoint} returned a web page instead of data (status {status}). Check "
                "source.mp_endpoint and the network."
            )
        detail = hide(self._key, response.text)[:DETAIL_CHARACTERS].replace("\n", " ")
        return MaterialsProjectError(
            f"The Materials Project does not understand the query (status {status}: {detail}). Check "
            "source.mp_endpoint; if it is right, the server may be too new for the installed mp-api."
        )


def _what_is_wrong(content: bytes) -> str | None:
    """Why a response cannot be a complete JSON object, or None."""
    text = content.strip()
    if text.startswith(b"<"):
        return "returned a web page instead of data, such as the log-in page of a network or a proxy"
    if not (text.startswith(b"{") and text.endswith(b"}")):
        return "returned a truncated answer"
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return "returned an answer that is not JSON"
    return None


def _retry_after(response: requests.Response) -> float | None:
    """Seconds that the server asks to wait, or None."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _gave_up(failure: str, seconds: float, pause: float, patience: float) -> str:
    waits = f"; it asks to wait {pause:g} s more" if pause > patience else ""
    return (
        f"The Materials Project {failure}, for {seconds:.0f} s now{waits}. What was read is kept: run the same command "
        f"again later, and check the network and source.mp_endpoint."
    )
