"""Crystals by identifier: from a run, from the embedded catalogue, from the Materials Project."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.readers import ReadStructure, read_structures, why_unusable
from mat2spec.tables.columns import Column
from screening.runs.contents import RunTables
from screening.runs.record import list_runs
from screening.runs.schemas import TableName
from screening.settings import CATALOGUE_PATH, SourceSettings
from screening.sources.base import SourceError
from screening.sources.materials_project.structures import fetch_crystals
from screening.sources.parquet import ParquetSource

_IDENTIFIER = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9_.]+)+")
_OF_MATERIALS_PROJECT = re.compile(r"(mp|mvc)-\w+")


def read_crystals(
    names: Sequence[Path], settings: SourceSettings, results_dir: Path | None = None
) -> list[ReadStructure]:
    """Crystals of files, folders and patterns, and of materials that are named by identifier where there is no such file.

    Parameters
    ----------
    names
        As `mat2spec.crystals.readers.read_structures` takes them, or identifiers such as ``mp-149``.
    settings
        Address of the Materials Project.
    results_dir
        Folder of runs that are looked through first, the newest first.
    """
    found: list[ReadStructure] = []
    for name in names:
        is_id = not name.exists() and _IDENTIFIER.fullmatch(str(name)) is not None
        found += [find_by_id(str(name), settings, results_dir)] if is_id else read_structures([name])
    return found


def find_by_id(material_id: str, settings: SourceSettings, results_dir: Path | None = None) -> ReadStructure:
    """One material, or the reason why it is not found."""
    for origin, crystals in _places(material_id, results_dir):
        return _as_read(material_id, crystals, origin)
    if not _OF_MATERIALS_PROJECT.fullmatch(material_id):
        return ReadStructure(
            material_id, None, "There is no such file, and neither a run nor the catalogue has a material of this name."
        )
    try:
        crystals, version = fetch_crystals([material_id], settings)
    except SourceError as error:
        return ReadStructure(material_id, None, f"Neither a run nor the catalogue has it. {error}")
    if not len(crystals):
        return ReadStructure(material_id, None, f"The Materials Project {version} has no such material.")
    return _as_read(material_id, crystals, f"Materials Project {version}")


def _places(material_id: str, results_dir: Path | None) -> Iterator[tuple[str, Crystals]]:
    """Where on this machine a material is, and its crystal."""
    for info in reversed(list_runs(results_dir) if results_dir is not None else []):
        assert results_dir is not None
        run = RunTables(results_dir / str(info["run_id"]))
        if run.has_table(TableName.CRYSTALS):
            ids = run.read_arrow(TableName.CRYSTALS, [Column.MATERIAL_ID])[Column.MATERIAL_ID].to_pylist()
            if material_id in ids:
                yield f"run {run.run_id}", run.crystals([material_id])
    if CATALOGUE_PATH.exists():
        catalogue = ParquetSource(CATALOGUE_PATH)
        if catalogue.has(material_id):
            yield "embedded catalogue", catalogue.crystals([material_id])


def _as_read(name: str, crystals: Crystals, origin: str) -> ReadStructure:
    problem = None if crystals.problems is None else crystals.problems[0]
    if problem:
        return ReadStructure(name, None, str(problem), origin=origin)
    structure = crystals.structure(0)
    reason = why_unusable(structure)
    return ReadStructure(name, None if reason else structure, reason, origin=origin)
