"""Crystals as ASE keeps them: Atoms, and the files and databases that it writes (extxyz, traj, db, json)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.db import connect
from ase.io import iread
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

FORMATS = {".extxyz": "extxyz", ".xyz": "extxyz", ".traj": "traj"}
DATABASE_ENDINGS = (".db",)
_PROPERTIES = re.compile(r"""Properties\s*=\s*["']?([^\s"']+)""", re.IGNORECASE)
SQLITE = b"SQLite format 3\x00"
# Keys under which rows of databases and comments of extxyz name their crystal.
NAME_KEYS = ("material_id", "mp_id", "id", "name")


class AseFileError(ValueError):
    """A file of ASE does not hold crystals; the message says why."""


def structure_of(atoms: Atoms) -> Structure:
    """The structure of periodic Atoms.

    Raises
    ------
    AseFileError
        If they are not periodic in all three directions.
    """
    if not atoms.pbc.all():
        raise AseFileError("The Atoms are not periodic in all three directions; give a crystal.")
    return AseAtomsAdaptor.get_structure(atoms)


def atoms_of(file: Path) -> Iterator[tuple[str, Atoms]]:
    """Name, empty if it has none, and Atoms of every frame of a file.

    Raises
    ------
    AseFileError
        If the file cannot be read.
    """
    if FORMATS[file.suffix.lower()] == "extxyz":
        _check_sizes(file)
    try:
        for atoms in iread(file, index=":", format=FORMATS[file.suffix.lower()]):
            yield _name(atoms.info), atoms
    # ASE raises whatever its parsers stumble over.
    except Exception as error:
        raise AseFileError(f"ASE cannot read the file: {_first_line(error)}") from error


def _check_sizes(file: Path) -> None:
    """Refuse an extxyz file that declares more atoms or columns than it holds: ASE would look for them very long.

    Raises
    ------
    AseFileError
        If the numbers do not fit.
    """
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    start = 0
    while start < len(lines) and lines[start].strip():
        if lines[start].startswith("VEC"):  # lattice vectors, in an older form
            start += 1
            continue
        if not lines[start].strip().isdecimal():
            raise AseFileError(f"Line {start + 1} of the file is not a number of atoms.")
        n_atoms, n_there = int(lines[start]), len(lines) - start - 2
        if n_atoms > n_there:
            raise AseFileError(f"The file declares {n_atoms:.6g} atoms but has {max(n_there, 0)} lines of them.")
        described = _PROPERTIES.search(lines[start + 1])
        if n_atoms and described:
            n_columns = sum(map(int, re.findall(r":[A-Za-z]:(\d+)", described[1])))
            if n_columns > len(lines[start + 2].split()):
                raise AseFileError(f"The file declares {n_columns:.6g} columns, more than its lines of atoms have.")
        start += n_atoms + 2


def rows_of(file: Path, kind: str) -> Iterator[tuple[str, Any]]:
    """Name, or number, and row of every entry of an ASE database; `row.toatoms()` gives the Atoms.

    Parameters
    ----------
    file
        The database.
    kind
        ``"db"`` for SQLite, ``"json"``.

    Raises
    ------
    AseFileError
        If the file cannot be read.
    """
    try:
        with connect(file, type=kind, use_lock_file=False) as database:
            for row in database.select():
                yield _name(row.key_value_pairs) or str(row.id), row
    except Exception as error:
        raise AseFileError(f"ASE cannot read the database: {_first_line(error)}") from error


def is_database(content: Any) -> bool:
    """Whether the content of a JSON file is an ASE database."""
    return isinstance(content, dict) and {"ids", "nextid"} <= content.keys()


def _name(keys: Any) -> str:
    return next((str(keys[key]) for key in NAME_KEYS if isinstance(keys.get(key), str | int)), "")


def _first_line(error: BaseException) -> str:
    return (next(iter(str(error).splitlines()), "").rstrip(".") or type(error).__name__) + "."
