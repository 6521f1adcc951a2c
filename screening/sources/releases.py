"""The version of a source's database now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screening.settings import MATERIALS_PROJECT, OPEN_DATA
from screening.sources.opening import open_source

if TYPE_CHECKING:
    from screening.settings import SourceSettings


def current_release(settings: SourceSettings) -> str:
    """Version of the database behind a source now; the Materials Project tells it to everybody, without a key.

    Raises
    ------
    screening.sources.base.SourceError
        If the source cannot be asked.
    """
    if settings.kind == OPEN_DATA:
        from screening.sources.open_data.source import open_data_release

        return open_data_release(settings)
    if settings.kind != MATERIALS_PROJECT:
        return open_source(settings).db_version()
    from pydantic import SecretStr

    from screening.sources.materials_project.client import MaterialsProject

    return MaterialsProject(settings, SecretStr("")).first_db_version()
