"""The version of a source's database now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screening.settings import SourceKind
from screening.sources.opening import open_source

if TYPE_CHECKING:
    from screening.settings import SourceSettings


def current_release(settings: SourceSettings) -> str:
    """Current version of the database behind a source; the Materials Project gives it without a key.

    Raises
    ------
    screening.sources.base.SourceError
        If the source cannot be asked.
    """
    if settings.kind is SourceKind.OPEN_DATA:
        from screening.sources.open_data.source import open_data_release

        return open_data_release(settings)
    if settings.kind is not SourceKind.MATERIALS_PROJECT:
        return open_source(settings).db_version()
    from pydantic import SecretStr

    from screening.sources.materials_project.client import MaterialsProject

    return MaterialsProject(settings, SecretStr("")).first_db_version()
