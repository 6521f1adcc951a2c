"""Crystals of Parquet files: with lattice, coordinates and elements in columns, or whole structures in one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from pymatgen.core import Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.checks import find_problems
from mat2spec.crystals.columns import identifiers
from mat2spec.crystals.structure_json import StructureJsonError, read_entry
from mat2spec.tables.columns import CRYSTAL_COLUMNS, Column
from mat2spec.tables.parquet import read_table, require_columns

MAGIC = b"PAR1"
STRUCTURE = "structure"


def crystals_of(file: Path) -> Iterator[tuple[str, Any]]:
    """Identifier, or number from 1, of every row, and what reads its crystal.

    Raises
    ------
    StructureJsonError
        If the table has no column of crystals.
    mat2spec.tables.files.TableError
        If the file is damaged.
    """
    names = require_columns(file, [])
    whole = set(CRYSTAL_COLUMNS) <= set(names)
    if not whole and STRUCTURE not in names:
        raise StructureJsonError(
            f"The table holds no crystals: it needs the columns {', '.join(CRYSTAL_COLUMNS)}, or {STRUCTURE}."
        )
    named = Column.MATERIAL_ID in names
    table = read_table(file, list(CRYSTAL_COLUMNS) if whole else [STRUCTURE, *([Column.MATERIAL_ID] if named else [])])
    ids = identifiers(table[Column.MATERIAL_ID]) if named else [None] * len(table)
    keys = [key or str(number) for number, key in enumerate(ids, 1)]
    if whole:
        crystals = Crystals.from_arrow(table)
        yield from ((key, partial(_structure, crystals, index)) for index, key in enumerate(keys))
    else:
        yield from ((key, partial(_whole, value.as_py())) for key, value in zip(keys, table[STRUCTURE], strict=True))


def _structure(crystals: Crystals, index: int) -> Structure:
    problem = find_problems(crystals.take([index]))[0]
    if problem:
        raise StructureJsonError(str(problem))
    return crystals.structure(index)


def _whole(value: Any) -> Structure:
    return read_entry(orjson.loads(value) if isinstance(value, str | bytes) else value)
