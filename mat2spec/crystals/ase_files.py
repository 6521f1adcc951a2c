"""Crystals as ASE keeps them: Atoms, and the files and databases that it writes (extxyz, traj, db, json)."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses
from ase.db import connect
from ase.io import iread
from ase.io.extxyz import key_val_str_to_dict, read_xyz
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from mat2spec.crystals.species import isotope_of_mass

TEXT_FORMATS = (".extxyz", ".xyz")
FORMATS = {**dict.fromkeys(TEXT_FORMATS, "extxyz"), ".traj": "traj"}
DATABASE_ENDINGS = (".db",)
_PROPERTIES = re.compile(r"""Properties\s*=\s*["']?([^\s"']+)""", re.IGNORECASE)
_ONCE = re.compile(r"(?<!\S)(lattice|properties|pbc)\s*=", re.IGNORECASE)
_MASS_TOLERANCE = 0.02
# Occupancies that are one but for rounding.
_ROUNDING = 1e-3
# No memory is too small for a file of this size.
_SMALL_BYTES = 100_000_000
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
    if not _is_ordered(atoms):
        raise AseFileError("The crystal has partial occupancies (info['occupancy']); give an ordered one.")
    structure = AseAtomsAdaptor.get_structure(atoms)
    masses = atoms.get_masses()
    for index in np.flatnonzero(atoms.numbers == 1).tolist():
        isotope = isotope_of_mass("H", float(masses[index]))
        if isotope != "H":
            structure.replace(index, isotope)
    return structure


def _is_ordered(atoms: Atoms) -> bool:
    """Whether no site is shared or partly occupied; ASE keeps one of the elements and notes the shares."""
    shares = atoms.info.get("occupancy")
    if not isinstance(shares, dict):
        return True
    sites = [site for site in shares.values() if isinstance(site, dict)]
    return all(len(site) == 1 and abs(float(next(iter(site.values()))) - 1) < _ROUNDING for site in sites)


def note_on(atoms: Atoms) -> str:
    """Remarks on a charge, and on masses that are not those of the elements; those of hydrogen are isotopes of the structure."""
    usual = atomic_masses[atoms.numbers]
    unusual = np.abs(atoms.get_masses() - usual) > _MASS_TOLERANCE * usual
    notes = ["The masses of the file are ignored by all models."] if (unusual & (atoms.numbers > 1)).any() else []
    charge = atoms.info.get("charge", 0)
    if isinstance(charge, int | float | np.integer | np.floating) and float(charge) != 0:
        notes.append("The charge of the cell is ignored by all models.")
    return " ".join(notes)


def atoms_of(file: Path) -> Iterator[tuple[str, Atoms]]:
    """Name, empty if it has none, and Atoms of every step of a trajectory.

    Raises
    ------
    AseFileError
        If the file cannot be read.
    """
    try:
        for atoms in iread(file, index=":", format=FORMATS[file.suffix.lower()]):
            yield _name(atoms.info), atoms
    except MemoryError as error:
        if file.stat().st_size > _SMALL_BYTES:
            raise
        # A trajectory is read array by array, each as large as it says.
        raise AseFileError("The file is damaged: it declares more than it holds.") from error
    # ASE raises whatever its parsers stumble over.
    except Exception as error:
        if _is_of_the_machine(error):
            raise
        raise AseFileError(f"ASE cannot read the file: {_first_line(error)}") from error


def frames_of(text: str) -> Iterator[tuple[str, str]]:
    """Name, empty if it has none, and text of every frame of an extxyz file.

    Raises
    ------
    AseFileError
        If a frame declares more atoms or columns than it holds: ASE would look for them very long.
    """
    lines = text.split("\n")
    start = 0
    while start < len(lines) and lines[start].strip():
        if lines[start].startswith("VEC"):  # lattice vectors, in an older form
            start += 1
            continue
        behind = start + 2 + _checked_size(lines, start)
        yield _name_in(lines[start + 1]), "\n".join(lines[start:behind]) + "\n"
        start = behind


def atoms_of_frame(frame: str) -> Atoms:
    """The Atoms of one frame of an extxyz file.

    Raises
    ------
    AseFileError
        If it cannot be read, or gives its lattice twice.
    """
    names = [name.lower() for name in _ONCE.findall(frame.split("\n", 2)[1])]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise AseFileError(f"The line of properties gives '{twice}' twice; leave one.")
    try:
        return next(read_xyz(io.StringIO(frame), index=0))
    except KeyError as error:
        raise AseFileError(f"{error} is not an element that ASE knows.") from error
    except Exception as error:
        if _is_of_the_machine(error):
            raise
        raise AseFileError(f"ASE cannot read the file: {_first_line(error)}") from error


def _checked_size(lines: list[str], start: int) -> int:
    """Number of atoms of the frame that begins at a line."""
    if not lines[start].strip().isdecimal():
        raise AseFileError(f"Line {start + 1} of the file is not a number of atoms.")
    n_atoms = int(lines[start])
    n_there = sum(bool(line.strip()) for line in lines[start + 2 : start + 2 + n_atoms])
    if n_atoms > n_there:
        raise AseFileError(f"The file declares {n_atoms:.6g} atoms but has {n_there} lines of them.")
    described = _PROPERTIES.search(lines[start + 1])
    if n_atoms and described:
        n_columns = sum(map(int, re.findall(r":[A-Za-z]:(\d+)", described[1])))
        if n_columns > len(lines[start + 2].split()):
            raise AseFileError(f"The file declares {n_columns:.6g} columns, more than its lines of atoms have.")
    return n_atoms


def _name_in(comment: str) -> str:
    try:
        return _name(key_val_str_to_dict(comment))
    except Exception:  # noqa: BLE001  whoever reads the frame says what is wrong with it
        return ""


def rows_of(file: Path, kind: str) -> Iterator[tuple[str, Callable[[], Atoms]]]:
    """Name, or number, of every entry of an ASE database, and what reads its Atoms.

    Parameters
    ----------
    file
        The database.
    kind
        ``"db"`` for SQLite, of which a damaged row harms no other; ``"json"``, which is read as a whole.

    Raises
    ------
    AseFileError
        If the file cannot be read.
    """
    columns = ["id", "key_value_pairs"] if kind == "db" else "all"
    with _reading_database(), connect(file, type=kind, use_lock_file=False) as database:
        for row in database.select(columns=columns):
            read = partial(_atoms_of_row, file, int(row.id)) if kind == "db" else row.toatoms
            yield _name(row.key_value_pairs) or str(row.id), read


def _atoms_of_row(file: Path, number: int) -> Atoms:
    with _reading_database():
        return connect(file, type="db", use_lock_file=False).get(id=number).toatoms()


@contextmanager
def _reading_database() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if _is_of_the_machine(error):
            raise
        raise AseFileError(f"ASE cannot read the database: {_first_line(error)}") from error


def is_database(content: Any) -> bool:
    """Whether the content of a JSON file is an ASE database."""
    return isinstance(content, dict) and {"ids", "nextid"} <= content.keys()


def _name(keys: Any) -> str:
    return next((str(keys[key]) for key in NAME_KEYS if isinstance(keys.get(key), str | int)), "")


def _first_line(error: BaseException) -> str:
    return (next(iter(str(error).splitlines()), "").rstrip(".") or type(error).__name__) + "."


def _is_of_the_machine(error: BaseException) -> bool:
    """Whether memory, disk or network failed, for which the file is not to blame."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)
