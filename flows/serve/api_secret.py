"""The secret of a served Prefect API, in a file that only its owner can read.

Whoever may speak to a Prefect server can make it start programs as the user who serves, so that even on loopback it needs a
secret. One file a machine and port, in the user's folder of state: programs of the same user find it by the address.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
from pathlib import Path
from urllib.parse import urlsplit

from platformdirs import user_state_path

from screening.settings import LOOPBACK_HOSTS

AUTH_VARIABLE = "PREFECT_API_AUTH_STRING"
_USER = "mat2spec"
_OWN_NAMES = LOOPBACK_HOSTS | {"0.0.0.0"}  # noqa: S104  names, nothing is bound


class SecretError(OSError):
    """The file of a secret cannot be trusted; the message says why."""


def secret_file(port: int) -> Path:
    """Where the secret of the server on this port of this machine lies."""
    folder = user_state_path("mat2spec-screening", appauthor=False)
    return folder / "servers" / f"{socket.gethostname()}-{port}.secret"


def make_secret(port: int) -> str:
    """The secret of a port, made if there is none yet: it stays the same when the server starts again.

    Raises
    ------
    SecretError
        If the file cannot be written, others could have read or written it, or it is empty.
    """
    path = secret_file(port)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(f"{_USER}:{secrets.token_urlsafe(32)}")
    except FileExistsError:
        pass
    except OSError as error:
        raise SecretError(
            f"The secret of the Prefect API cannot be written to {path} ({error.strerror}); name a folder that you can write to "
            "with the environment variable XDG_STATE_HOME."
        ) from error
    return read_secret(path)


def read_secret(path: Path) -> str:
    """The secret in a file; raises as `make_secret`."""
    state = path.lstat()
    if not stat.S_ISREG(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise SecretError(
            f"{path} holds the secret of the Prefect API, but others may read or write it; remove the file and serve again."
        )
    secret = path.read_text().strip()
    if not secret:
        raise SecretError(
            f"{path}, which holds the secret of the Prefect API, is empty, as a full disk leaves it; remove the file and serve again."
        )
    return secret


def find_secret(api_url: str | None) -> str | None:
    """The secret of a server of this user on this machine; None for any other address."""
    try:
        address = urlsplit(api_url or "")
        if address.hostname not in _OWN_NAMES | {socket.gethostname(), socket.getfqdn()} or address.port is None:
            return None
        return read_secret(secret_file(address.port))
    except (OSError, ValueError):
        return None
