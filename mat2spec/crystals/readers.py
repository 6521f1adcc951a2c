"""Read crystals from common file formats: CIF, POSCAR, JSON, extxyz, ASE databases, Parquet; folders and globs.

Crystals of a file are independent: an unusable one becomes an entry with the reason, and the others are read. Remarks
on usable crystals are in their notes.
"""

from __future__ import annotations

import glob
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from mat2spec.crystals import ase_files, parquet_files
from mat2spec.crystals.cif import read_block
from mat2spec.crystals.cif_blocks import split_blocks
from mat2spec.crystals.poscar import read_poscar
from mat2spec.crystals.species import isotopes, unknown_species
from mat2spec.crystals.structure_json import entries_of, parse, read_entry
from mat2spec.crystals.unpacking import UnpackingError, uncompressed_name, unpacked
from mat2spec.tables.files import TableError
from mat2spec.tables.text import one_line

_CIF_ENDINGS = {".cif", ".mcif"}
# Files of a folder that are read; in CIF, JSON and the like also compressed ones.
_JSON_ENDINGS = {".json", ".jsonl", ".ndjson"}
_TEXT_ENDINGS = {*_CIF_ENDINGS, *_JSON_ENDINGS, ".vasp", ".poscar"}
_ENDINGS = {*_TEXT_ENDINGS, *ase_files.FORMATS, *ase_files.DATABASE_ENDINGS, ".parquet"}
_NAMES = ("POSCAR", "CONTCAR")
_CELL = re.compile(r"^\s*_cell[_.]length_a\b", re.IGNORECASE | re.MULTILINE)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# What version control leaves in place of a large file.
_POINTER = re.compile(r"version https://git-lfs|(/?\S*\.git)?/annex/objects/")


class UnreadableError(ValueError):
    """A file does not hold crystals; the message says what it is."""


@dataclass(frozen=True)
class ReadStructure:
    """One crystal of a file, or the reason for its absence.

    Parameters
    ----------
    name
        Name of the file, followed by "#" and the identifier, key or number of the crystal if there are several.
    structure
        The crystal; None if it cannot be used.
    reason
        Why not, as a sentence; empty if it can be used.
    note
        Remark on a usable crystal; else empty.
    key
        Identifier, key or number of the crystal within its file; empty if the file is one crystal.
    isotopes
        Isotopes on its sites. Models treat them as the element, which is right for electrons, wrong for phonons.
    origin
        Where it comes from if not from a file: a run, a database.
    """

    name: str
    structure: Structure | None
    reason: str = ""
    note: str = ""
    key: str = ""
    isotopes: tuple[str, ...] = ()
    origin: str = ""

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.name[: -len(self.key) - 1] if self.key else self.name


Reader = Callable[[], tuple[Structure, str]]


def read_structures(files: Sequence[Path], primitive: bool = True) -> list[ReadStructure]:
    """All crystals of some files, in order; anything unreadable becomes an entry with the reason.

    Parameters
    ----------
    files
        Files, folders and patterns such as ``runs/**/CONTCAR``.
    primitive
        Whether to reduce the cell of a CIF to a primitive one (`mat2spec.crystals.cif.to_primitive`).
    """
    found: list[ReadStructure] = []
    for file in expand_paths(files):
        found += _read_file(file, primitive)
    return found


def expand_paths(paths: Sequence[Path]) -> list[Path]:
    """Files behind paths: of a folder those that may hold crystals, at any depth, of a pattern those that match it.

    A path behind which there is nothing stands for itself.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.is_file() and _may_hold_crystals(file))
        elif not path.exists() and glob.has_magic(str(path)):
            found = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207  absolute patterns too
        else:
            found = []
        files += found or [path]
    return files


def _may_hold_crystals(file: Path) -> bool:
    name = uncompressed_name(file)
    return name.suffix.lower() in _ENDINGS or name.name.upper().startswith(_NAMES)


def _read_file(file: Path, primitive: bool) -> list[ReadStructure]:
    readers: list[tuple[str, Reader]] = []
    try:
        for reader in _readers_of(file, primitive):
            readers.append(reader)  # noqa: PERF402  those before an error are kept
    except TableError as error:
        readers.append(("", partial(_fail, one_line(str(error)))))
    except OSError as error:
        readers.append(("", partial(_fail, f"The file cannot be read: {error.strerror or error}.")))
    except (ValueError, RecursionError) as error:
        readers.append(("", partial(_fail, _why_unread(error).replace("The crystal", "The file"))))
    if not readers:
        return [ReadStructure(one_line(str(file)), None, "The file contains no crystal.")]
    if len(readers) == 1 and not _is_identifier(readers[0][0], file):
        return [_read_entry(one_line(str(file)), "", readers[0][1])]
    keys = _unique([key or str(number) for number, (key, _) in enumerate(readers, 1)])
    return [_read_entry(one_line(str(file)), key, read) for key, (_, read) in zip(keys, readers, strict=True)]


def _fail(reason: str) -> tuple[Structure, str]:
    raise UnreadableError(reason)


def _readers_of(file: Path, primitive: bool) -> Iterator[tuple[str, Reader]]:
    """What reads each crystal of a file of any kind, with its name."""
    if file.is_dir():
        raise UnreadableError("The folder holds no file of crystals.")
    if file.exists() and not file.is_file():
        # It is read from its start more than once.
        raise UnreadableError("This is a pipe or a device; save the crystals to a file first.")
    with file.open("rb") as start:
        magic = start.read(len(ase_files.SQLITE))
    if magic.startswith(parquet_files.MAGIC):
        yield from ((key, partial(_without_note, read)) for key, read in parquet_files.crystals_of(file))
    elif magic == ase_files.SQLITE:
        yield from ((key, partial(_of_row, row)) for key, row in ase_files.rows_of(file, "db"))
    elif uncompressed_name(file).suffix.lower() in ase_files.TEXT_FORMATS:
        yield from ((key, partial(_of_frame, frame)) for key, frame in ase_files.frames_of(_text_of(file)))
    elif file.suffix.lower() in ase_files.FORMATS:
        yield from ((key, partial(_of_atoms, atoms)) for key, atoms in ase_files.atoms_of(file))
    else:
        yield from _readers(file, _text_of(file), primitive)


def _without_note(read: Callable[[], Structure]) -> tuple[Structure, str]:
    return read(), ""


def _of_row(read: Callable[[], Any]) -> tuple[Structure, str]:
    return _of_atoms(read())


def _of_frame(frame: str) -> tuple[Structure, str]:
    return _of_atoms(ase_files.atoms_of_frame(frame))


def _of_atoms(atoms: Any) -> tuple[Structure, str]:
    return ase_files.structure_of(atoms), ase_files.note_on(atoms)


def _text_of(file: Path) -> str:
    try:
        content = unpacked(file)
    except UnpackingError as error:
        raise UnreadableError(str(error)) from error
    text = _decoded(content)
    if _POINTER.match(text):
        raise UnreadableError(
            "This is a pointer of Git LFS or git-annex, not the file itself; fetch it (`git lfs pull`, `git annex get`)."
        )
    return text


def _decoded(content: bytes) -> str:
    """Text in UTF-8, in UTF-16 with its byte-order mark, or else in Latin-1: only names and titles depend on it."""
    try:
        return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        if not _CONTROLS.search(content):
            return content.decode("latin-1")
        raise UnreadableError(
            "This is not a text file; give CIF, POSCAR, JSON, extxyz, an ASE database or Parquet."
        ) from error


def _is_identifier(key: str, file: Path) -> bool:
    """Whether the only crystal of a file has a more informative name than the file."""
    return bool(key) and not key.isdigit() and file.suffix.lower() not in _CIF_ENDINGS


def _readers(file: Path, text: str, primitive: bool) -> Iterator[tuple[str, Reader]]:
    """Readers of the crystals of a file, with their names."""
    start = text.lstrip()
    if start[:1] == "<":
        raise UnreadableError("This is a web page or XML, not a crystal; get the file itself.")
    source = file
    file = uncompressed_name(file)
    if file.suffix.lower() in _JSON_ENDINGS or start.startswith(("{", "[")):
        content = _json(text)
        if ase_files.is_database(content):
            yield from ((key, partial(_of_row, row)) for key, row in ase_files.rows_of(source, "json"))
            return
        for name, entry in entries_of(content):
            yield name, partial(_of_json, entry)
    elif file.suffix.lower() in _CIF_ENDINGS or start[:5].lower() == "data_" or _CELL.search(text):
        for name, block in split_blocks(text):
            yield name, partial(_of_cif, block, primitive)
    else:
        yield "", partial(read_poscar, text)


def _json(text: str) -> Any:
    """Content of a JSON file, or a list of what its lines hold; a line that does not parse stays a text."""
    try:
        return parse(text)
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if error.msg != "Extra data" or len(lines) < 2:
            raise
        return [_json_line(line) for line in lines]


def _json_line(line: str) -> Any:
    try:
        return parse(line)
    except json.JSONDecodeError:
        return line


def _of_json(entry: Any) -> tuple[Structure, str]:
    return read_entry(entry), ""


def _of_cif(block: str, primitive: bool) -> tuple[Structure, str]:
    crystal = read_block(block, primitive=primitive)
    return crystal.structure, " ".join(crystal.notes)


def _read_entry(file: str, key: str, read: Reader) -> ReadStructure:
    key = one_line(key)
    name = f"{file}#{key}" if key else file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # relevant problems are checked for and reported in a reason or a note
            structure, note = read()
    except MemoryError:
        raise
    except OSError as error:  # of the machine: the crystal is not to blame
        return ReadStructure(name, None, f"The file cannot be read: {error.strerror or error}.", key=key)
    # pymatgen's parsers raise all kinds of errors: the reason is kept and the other crystals are read.
    except Exception as error:  # noqa: BLE001
        return ReadStructure(name, None, _why_unread(error), key=key)
    reason = why_unusable(structure)
    if reason:
        return ReadStructure(name, None, reason, key=key)
    found = tuple(isotopes(structure))
    notes = [note] if note else []
    if found:
        notes.append(f"{' and '.join(found)} is treated as the element: models ignore masses.")
    if abs(structure._charge or 0) > 0:  # noqa: SLF001  the property counts oxidation states too
        notes.append("The charge of the cell is ignored by all models.")
    return ReadStructure(name, structure, note=" ".join(notes), key=key, isotopes=found)


def why_unusable(structure: Structure) -> str:
    """Why a structure cannot be predicted, as a sentence; empty if it can."""
    if not all(structure.lattice.pbc):
        return "The structure is not periodic in all three directions; give a crystal."
    if not structure.is_ordered:
        return "The crystal has partial occupancies; give an ordered one."
    unknown = unknown_species(structure)
    if unknown:
        return f"The crystal has sites that are not elements: {', '.join(unknown)}."
    return ""


def _why_unread(error: BaseException) -> str:
    """An error message in one line; the type is added unless it is one of our sentences."""
    text = one_line(" ".join(str(error).split()))
    if type(error).__module__.startswith("mat2spec."):
        return text
    if isinstance(error, np.linalg.LinAlgError):
        return "The lattice vectors lie in a plane."
    return f"The crystal does not parse: {text if type(error) is ValueError else f'{type(error).__name__}: {text}'}"


def _unique(names: Sequence[str]) -> list[str]:
    """Names, numbered if they occur more than once."""
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 2
        while candidate in taken:
            candidate, number = f"{name}-{number}", number + 1
        taken.add(candidate)
        unique.append(candidate)
    return unique
