"""Errors of the Materials Project source; the messages are sentences and never contain the API key."""

from __future__ import annotations

from screening.sources.base import SourceError


class MaterialsProjectError(SourceError):
    """The Materials Project could not be read."""


class ApiKeyError(MaterialsProjectError):
    """There is no usable API key, or the server rejects it."""


class AccessDeniedError(MaterialsProjectError):
    """The server refuses access, whatever the key."""


class ServerUnreachableError(MaterialsProjectError):
    """The server did not answer, or only with errors, for longer than the settings allow."""


class DatabaseChangedError(MaterialsProjectError):
    """The database changed to a new version while it was read."""


class ReconciliationError(MaterialsProjectError):
    """The data read do not add up to the server's counts."""
