"""The current version of a source's database."""

from __future__ import annotations

from pydantic import SecretStr

from screening.settings import SourceKind, SourceSettings
from screening.sources.materials_project.client import MaterialsProject
from screening.sources.open_data.source import open_data_release
from screening.sources.opening import open_source


def current_release(settings: SourceSettings) -> str:
    """Current version of the database behind a source; the Materials Project gives it without a key.

    Raises
    ------
    screening.sources.base.SourceError
        If the source cannot be queried.
    """
    if settings.kind is SourceKind.OPEN_DATA:
        return open_data_release(settings)
    if settings.kind is not SourceKind.MATERIALS_PROJECT:
        return open_source(settings).db_version()

    return MaterialsProject(settings, SecretStr("")).first_db_version()
