"""The live Materials Project as a source of a screen.

    from screening.sources.materials_project.source import open_materials_project
    source = open_materials_project(SourceSettings(kind=SourceKind.MATERIALS_PROJECT), FilterSettings())

The materials that pass the filters are read once per version of the database into a Parquet table; from then on
the source is that table.
"""

from __future__ import annotations

import logging
from contextlib import closing

from pydantic import SecretStr

from screening.progress import Progress, no_progress
from screening.settings import FilterSettings, SourceKind, SourceSettings
from screening.sources.materials_project.api_key import load_api_key
from screening.sources.materials_project.cache import QueryCache
from screening.sources.materials_project.client import MaterialsProject
from screening.sources.materials_project.errors import DatabaseChangedError
from screening.sources.materials_project.query import Query
from screening.sources.materials_project.reading import Reading
from screening.sources.parquet import ParquetSource

logger = logging.getLogger(__name__)

# A release takes minutes to go live; a database that changes more often than this cannot be read.
MAX_ATTEMPTS = 3


def open_materials_project(
    settings: SourceSettings,
    filters: FilterSettings,
    api_key: SecretStr | str | None = None,
    progress: Progress = no_progress,
    db_version: str | None = None,
) -> ParquetSource:
    """Read the materials that pass the filters from the Materials Project, unless they are cached.

    Parameters
    ----------
    settings
        The source: endpoint, cells, cache, limits of the requests.
    filters
        Filters of the screen; those that the server supports are applied there.
    api_key
        The key; from the environment or the settings of pymatgen if not given.
    progress
        Called with the materials read so far and their number.
    db_version
        Use the table of this version if it is cached, without a key or a query.

    Raises
    ------
    ApiKeyError
        If there is no key, before any work, or the server rejects it.
    DatabaseChangedError
        If the database changes faster than it can be read.
    MaterialsProjectError
        If the server is unreachable or rejects a request; what was read is kept.
    """
    query = Query.of_settings(filters, settings, settings.limit)
    if db_version is not None and (cache := QueryCache(settings, db_version, query)).is_complete:
        return ParquetSource(cache.table_path, name=SourceKind.MATERIALS_PROJECT)
    key = load_api_key(api_key)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            with closing(MaterialsProject(settings, key)) as client:
                cache = QueryCache(settings, client.first_db_version(), query)
                with cache.locked():
                    if not cache.is_complete:
                        Reading(client, query, cache, settings, progress).run()
            return ParquetSource(cache.table_path, name=SourceKind.MATERIALS_PROJECT)
        except DatabaseChangedError as error:
            if attempt == MAX_ATTEMPTS:
                raise
            logger.warning("%s Reading restarts.", error)
    raise AssertionError
