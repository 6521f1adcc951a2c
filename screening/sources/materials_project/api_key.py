"""The API key of the Materials Project: where it comes from, checked before any work, never shown.

The key is not a setting of a run, as settings are printed, hashed, written to `run.json` and passed to
Prefect as parameters. It is passed around as `pydantic.SecretStr`, which prints as asterisks.
"""

from __future__ import annotations

import logging
import os

from pydantic import SecretStr
from pymatgen.core import SETTINGS

from screening.sources.materials_project.errors import ApiKeyError

logger = logging.getLogger(__name__)

KEY_VARIABLE = "MP_API_KEY"
PYMATGEN_SETTING = "PMG_MAPI_KEY"
KEY_LENGTH = 32
KEY_PAGE = "https://next-gen.materialsproject.org/api"
WHERE_TO_PUT_IT = (
    f"Get one from {KEY_PAGE} (free of charge) and set the environment variable {KEY_VARIABLE}, or store it "
    f"permanently with `pmg config --add {PYMATGEN_SETTING} <key>`."
)


def load_api_key(given: SecretStr | str | None = None) -> SecretStr:
    """Find the API key: the argument, else the environment, else the settings file of pymatgen.

    Parameters
    ----------
    given
        The key, if the caller has one.

    Raises
    ------
    ApiKeyError
        If there is no key, or it is malformed. The message says where to get one.
    """
    found = _given(given) or _from_environment() or _from_pymatgen()
    if found is None:
        raise ApiKeyError(
            f"The Materials Project needs an API key and none was found. {WHERE_TO_PUT_IT} Its open data need no key: "
            "set source.kind=materials-project-open."
        )
    key, origin = found
    if len(key) != KEY_LENGTH or not (key.isascii() and key.isprintable() and " " not in key):
        raise ApiKeyError(
            f"The Materials Project API key from {origin} is malformed: it has {len(key)} characters, but a key has "
            f"{KEY_LENGTH} letters and digits. {WHERE_TO_PUT_IT}"
        )
    _say_which(key, origin)
    return SecretStr(key)


def origin_of(key: SecretStr) -> str:
    """Where a key comes from, as in " from the environment variable MP_API_KEY"; empty if unknown."""
    found = [entry for entry in (_from_environment(), _from_pymatgen()) if entry is not None]
    return next((f" from {origin}" for text, origin in found if text == key.get_secret_value()), "")


def _say_which(key: str, origin: str) -> None:
    """Warn if two different keys are set: otherwise a forgotten one could silently win."""
    other = _from_pymatgen()
    if other is not None and other[0] != key:
        logger.warning("The key from %s is used, not the different one from %s.", origin, other[1])


def _given(given: SecretStr | str | None) -> tuple[str, str] | None:
    key = given.get_secret_value() if isinstance(given, SecretStr) else given
    return None if key is None else (key.strip(), "the argument")


def _from_environment() -> tuple[str, str] | None:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    return (key, f"the environment variable {KEY_VARIABLE}") if key else None


def _from_pymatgen() -> tuple[str, str] | None:
    key = str(SETTINGS.get(PYMATGEN_SETTING) or "").strip()
    return (key, f"{PYMATGEN_SETTING} of the pymatgen settings") if key else None


def hide(key: SecretStr, text: str) -> str:
    """Text from the server or a library with the key replaced by asterisks."""
    return text.replace(key.get_secret_value(), "*" * 8)
