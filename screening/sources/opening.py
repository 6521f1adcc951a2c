"""Open the source that the settings name: the embedded catalogue, a table, files, the Materials Project."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mat2spec.crystals.parquet_files import STRUCTURE
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import require_columns
from screening.progress import Progress, no_progress
from screening.settings import CATALOGUE_PATH, FilterSettings, SourceKind, SourceSettings
from screening.sources.base import CrystalSource, SourceError
from screening.sources.files import open_files
from screening.sources.materials_project.source import open_materials_project
from screening.sources.open_data.source import open_open_data
from screening.sources.parquet import ParquetSource


def open_source(
    settings: SourceSettings | None = None,
    filters: FilterSettings | None = None,
    progress: Progress = no_progress,
    db_version: str | None = None,
    results_dir: Path | None = None,
) -> CrystalSource:
    """Open the source that the settings name.

    Parameters
    ----------
    settings
        The source.
    filters
        Filters that the Materials Project applies itself; other sources are filtered later.
    progress
        Called with how many of how many materials are read, if that takes long.
    db_version
        Version that a run began with: it continues with the cached data of that version, even if newer ones exist.
    results_dir
        Folder of runs in which materials named by identifier are looked for first.

    Raises
    ------
    SourceError
        If the table lacks columns, the catalogue is not installed, or the Materials Project cannot be read.
    TableError
        If the table does not exist or is damaged.
    """
    settings = settings or SourceSettings()
    if settings.kind is SourceKind.MATERIALS_PROJECT:
        return open_materials_project(settings, filters or FilterSettings(), progress=progress, db_version=db_version)
    if settings.kind is SourceKind.OPEN_DATA:
        return open_open_data(settings, progress, db_version)
    if settings.kind is SourceKind.FILES or _holds_structures(settings):
        return open_files(settings, results_dir)
    path = settings.path or CATALOGUE_PATH
    if settings.path is None and not path.exists():
        raise SourceError(
            f"The embedded catalogue is not at {path}. Install the package again, or give source.kind 'parquet' and "
            "source.path."
        )
    return ParquetSource(path, name=settings.kind, limit=settings.limit)


def _holds_structures(settings: SourceSettings) -> bool:
    """Whether a Parquet table keeps its crystals as whole structures in one column."""
    if settings.kind is not SourceKind.PARQUET or settings.path is None or not settings.path.exists():
        return False
    names = require_columns(settings.path, [])
    return STRUCTURE in names and Column.LATTICE not in names


def asked_about(source: CrystalSource, settings: SourceSettings) -> pd.Series | None:
    """The materials whose past matters; None for all, where those that are gone are looked up too."""
    return None if settings.kind is SourceKind.MATERIALS_PROJECT else source.properties()[Column.MATERIAL_ID]
