"""Crystals by identifier: from a run, from the embedded catalogue, from the Materials Project."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.material_ids import in_digits, spellings
from mat2spec.crystals.readers import ReadStructure, read_structures, why_unusable
from mat2spec.tables.columns import Column
from mat2spec.tables.files import TableError
from screening.runs.contents import RunTables
from screening.runs.record import list_runs
from screening.runs.schemas import TableName
from screening.settings import CATALOGUE_PATH, SourceSettings
from screening.sources.base import SourceError
from screening.sources.materials_project.structures import fetch_crystals
from screening.sources.parquet import ParquetSource

logger = logging.getLogger(__name__)

_IDENTIFIER = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9_.]+)+")
_OF_MATERIALS_PROJECT = re.compile(r"(mp|mvc)-\w+")
# A file of identifiers, one per line, as `mat2spec tables --to` writes it.
_LIST_ENDING = ".txt"
CrystalsOf = Callable[[Sequence[str]], Crystals]


def read_crystals(
    names: Sequence[Path], settings: SourceSettings, results_dir: Path | None = None
) -> list[ReadStructure]:
    """Crystals of files, folders and patterns, and of materials that are named by identifier where there is no such file.

    Parameters
    ----------
    names
        As `mat2spec.crystals.readers.read_structures` takes them, identifiers such as ``mp-149``, or a text file of them.
    settings
        Address of the Materials Project.
    results_dir
        Folder of runs that are looked through first, the newest first.
    """
    names = expand_lists(names)
    by_id = _find_all([str(name) for name in names if is_identifier(name)], settings, results_dir)
    found: list[ReadStructure] = []
    for name in names:
        found += [by_id[str(name)]] if is_identifier(name) else read_structures([name])
    return found


def is_identifier(name: Path) -> bool:
    """Whether a name is that of a material: it has the form of one, and there is no such file."""
    return _IDENTIFIER.fullmatch(str(name)) is not None and not name.exists()


def expand_lists(names: Sequence[Path]) -> list[Path]:
    """The names, with a text file of identifiers replaced by these."""
    return [member for name in names for member in _listed(name) or [name]]


def _listed(name: Path) -> list[Path]:
    """Identifiers that a text file lists; none if it is anything else."""
    if name.suffix.lower() != _LIST_ENDING or not name.is_file():
        return []
    lines = name.read_text(encoding="utf-8-sig", errors="replace").split()
    return [Path(line) for line in dict.fromkeys(lines)] if all(map(_IDENTIFIER.fullmatch, lines)) else []


def _find_all(
    material_ids: Sequence[str], settings: SourceSettings, results_dir: Path | None
) -> dict[str, ReadStructure]:
    """Each material, in whatever spelling, or the reason why it is not found.

    Runs and catalogue are opened once, when they are first needed; what is not on this machine is asked for in one request.
    """
    found: dict[str, ReadStructure] = {}
    missing = list(dict.fromkeys(material_ids))
    for origin, known, crystals_of in _places(results_dir) if missing else ():
        here = {name: each for name in missing for each in reversed(spellings(name)) if each in known}
        if here:
            found |= _as_read(here, crystals_of(list(here.values())), origin)
            missing = [name for name in missing if name not in here]
        if not missing:
            break
    return found | _fetch(missing, settings)


def _places(results_dir: Path | None) -> Iterator[tuple[str, frozenset[str], CrystalsOf]]:
    """Where on this machine materials are, which ones, and how to get their crystals."""
    runs = [] if results_dir is None else [results_dir / str(info["run_id"]) for info in list_runs(results_dir)]
    for run in map(RunTables, reversed(runs)):
        if not run.has_table(TableName.CRYSTALS):
            continue
        try:
            ids = run.read_arrow(TableName.CRYSTALS, [Column.MATERIAL_ID])[Column.MATERIAL_ID].to_pylist()
        except TableError as error:
            logger.warning("%s Its crystals are looked for elsewhere.", error)
            continue
        yield f"run {run.run_id}", frozenset(ids), run.crystals
    if CATALOGUE_PATH.exists():
        catalogue = ParquetSource(CATALOGUE_PATH)
        yield "embedded catalogue", catalogue.ids(), catalogue.crystals


def _fetch(material_ids: Sequence[str], settings: SourceSettings) -> dict[str, ReadStructure]:
    """Those of the Materials Project from there; the reason for any that is not found."""
    theirs = [name for name in material_ids if _OF_MATERIALS_PROJECT.fullmatch(name)]
    nowhere = "There is no such file, and neither a run nor the catalogue has a material of this name."
    found = {name: ReadStructure(name, None, nowhere) for name in material_ids}
    if not theirs:
        return found
    try:
        crystals, version = fetch_crystals(theirs, settings)
    except SourceError as error:
        why = f"Neither a run nor the catalogue has it. {error}"
        return found | {name: ReadStructure(name, None, why) for name in theirs}
    unknown = f"The Materials Project {version} has no such material."
    found |= {name: ReadStructure(name, None, unknown) for name in theirs}
    row_of = {in_digits(str(name)): row for row, name in enumerate(crystals.material_ids)}
    there = [name for name in theirs if in_digits(name) in row_of]
    rows = crystals.take([row_of[in_digits(name)] for name in there])
    return found | _as_read(there, rows, f"Materials Project {version}")


def _as_read(names: Collection[str], crystals: Crystals, origin: str) -> dict[str, ReadStructure]:
    """Crystals, one for each name, as if they had been read from files of these names."""
    return {name: _read_one(name, crystals, row, origin) for row, name in enumerate(names)}


def _read_one(name: str, crystals: Crystals, row: int, origin: str) -> ReadStructure:
    problem = None if crystals.problems is None else crystals.problems[row]
    if problem:
        return ReadStructure(name, None, str(problem), origin=origin)
    structure = crystals.structure(row)
    reason = why_unusable(structure)
    return ReadStructure(name, None if reason else structure, reason, origin=origin)
