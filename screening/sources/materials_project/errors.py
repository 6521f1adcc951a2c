"""What can go wrong with the Materials Project; every message is a sentence without the API key in it."""

from __future__ import annotations

from screening.sources.base import SourceError


class MaterialsProjectError(SourceError):
    """The Materials Project could not be read."""


class ApiKeyError(MaterialsProjectError):
    """There is no usable API key, or the server refuses it."""


class ServerUnreachableError(MaterialsProjectError):
    """The server did not answer, or only with errors, for longer than the settings allow."""


class DatabaseChangedError(MaterialsProjectError):
    """The database got a new version while it was read."""


class ReconciliationError(MaterialsProjectError):
    """What was read does not add up to what the server counts."""
