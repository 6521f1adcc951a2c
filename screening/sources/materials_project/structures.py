"""Structures of given materials, by id: for the labels that ship with the project without structures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import SecretStr

from mat2spec.crystals.arrays import Crystals
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import write_table
from screening.progress import Progress, no_progress
from screening.settings import FilterSettings, SourceSettings
from screening.sources.base import DB_VERSION_KEY
from screening.sources.materials_project.api_key import load_api_key
from screening.sources.materials_project.client import MaterialsProject
from screening.sources.materials_project.documents import NO_STRUCTURE, crystal_fields, page_table
from screening.sources.materials_project.query import Query
from screening.sources.materials_project.reading import NAMES_PER_REQUEST


def fetch_structures(
    target: Path,
    material_ids: Sequence[str],
    settings: SourceSettings,
    progress: Progress,
    api_key: SecretStr | str | None = None,
) -> tuple[int, list[str]]:
    """Write a table of the relaxed structures of materials.

    Parameters
    ----------
    target
        Parquet file to write, with the columns of `crystal_fields`.
    material_ids
        Which materials, e.g. "mp-149".
    settings
        Endpoint and limits of the requests.
    progress
        Called with how many of how many materials are read.
    api_key
        The key; from the environment or the settings of pymatgen if not given.

    Returns
    -------
    int
        Structures in the table.
    list of str
        Materials that the database no longer has, or has without a structure.

    Raises
    ------
    screening.sources.materials_project.errors.ApiKeyError
        If there is no key, or the server rejects it.
    screening.sources.materials_project.errors.MaterialsProjectError
        If the server is unreachable or rejects a request.
    """
    found, version = _fetch(material_ids, settings, progress, api_key)
    write_table(target, found, {DB_VERSION_KEY: version})
    return len(found), sorted(set(material_ids) - set(found[Column.MATERIAL_ID].to_pylist()))


def fetch_crystals(material_ids: Sequence[str], settings: SourceSettings) -> tuple[Crystals, str]:
    """Those of the materials that the database has, and its version; raises as `fetch_structures`."""
    found, version = _fetch(material_ids, settings, no_progress, None)
    return Crystals.from_arrow(found), version


def _fetch(
    material_ids: Sequence[str],
    settings: SourceSettings,
    progress: Progress,
    api_key: SecretStr | str | None,
) -> tuple[pa.Table, str]:
    """Rows of `crystal_fields` of the materials that have a structure, and the version of the database."""
    wanted = list(dict.fromkeys(material_ids))
    query = Query.of_settings(FilterSettings(), settings.model_copy(update={"mp_cells": "relaxed"}))
    tables = [page_table([])]
    with closing(MaterialsProject(settings, load_api_key(api_key))) as client:
        version = client.first_db_version()
        for start in range(0, len(wanted), NAMES_PER_REQUEST):
            asked = wanted[start : start + NAMES_PER_REQUEST]
            tables.append(page_table(client.summaries(asked, query)))
            progress(min(start + NAMES_PER_REQUEST, len(wanted)), len(wanted))
    rows = pa.concat_tables(tables)
    found = rows.filter(pc.invert(rows[NO_STRUCTURE])).select([str(name) for name in crystal_fields()])
    return found, version
