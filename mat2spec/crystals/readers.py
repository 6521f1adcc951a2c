"""Read crystals from the files that people have: CIF, POSCAR, JSON of pymatgen and of the Materials Project.

Each crystal of a file stands for itself: one that cannot be used becomes an entry with its reason, and the others are
read. What a reader should know of a crystal that can be used is its note.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from mat2spec.crystals.cif import read_block
from mat2spec.crystals.cif_blocks import split_blocks
from mat2spec.crystals.poscar import read_poscar
from mat2spec.crystals.species import isotopes, unknown_species
from mat2spec.crystals.structure_json import entries_of, read_entry
from mat2spec.tables.text import one_line

# The crystals of a larger text do not fit into memory as Python objects.
MAX_FILE_BYTES = 1_000_000_000
_CIF_ENDINGS = {".cif", ".mcif"}


class UnreadableError(ValueError):
    """A file does not hold crystals; the message says what it is."""


@dataclass(frozen=True)
class ReadStructure:
    """One crystal of a file, or the reason why there is none.

    Parameters
    ----------
    name
        Name of the file; behind it "#" and the identifier, key or number of the crystal if it holds several.
    structure
        The crystal; None if it cannot be used.
    reason
        Why not, as a sentence; empty if it can be used.
    note
        What to know of a crystal that can be used; else empty.
    key
        Identifier, key or number of the crystal within its file; empty if the file is one crystal.
    isotopes
        Isotopes on its sites. Models take them for the element: right for electrons, wrong for phonons.
    """

    name: str
    structure: Structure | None
    reason: str = ""
    note: str = ""
    key: str = ""
    isotopes: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.name[: -len(self.key) - 1] if self.key else self.name


Reader = Callable[[], tuple[Structure, str]]


def read_structures(files: Sequence[Path], primitive: bool = True) -> list[ReadStructure]:
    """All crystals of some files, in order; what cannot be read is one entry with its reason.

    Parameters
    ----------
    files
        CIF, POSCAR or JSON files.
    primitive
        Whether the cell of a CIF is reduced to a primitive one (`mat2spec.crystals.cif.to_primitive`).
    """
    found: list[ReadStructure] = []
    for file in files:
        found += _read_file(file, primitive)
    return found


def _read_file(file: Path, primitive: bool) -> list[ReadStructure]:
    try:
        readers = list(_readers(file, _text_of(file), primitive))
    except OSError as error:
        return [ReadStructure(one_line(str(file)), None, f"The file cannot be read: {error.strerror}.")]
    except (ValueError, RecursionError) as error:
        return [ReadStructure(one_line(str(file)), None, _why_unread(error).replace("The crystal", "The file"))]
    if not readers:
        return [ReadStructure(one_line(str(file)), None, "The file contains no crystal.")]
    if len(readers) == 1 and not _is_identifier(readers[0][0], file):
        return [_read_entry(one_line(str(file)), "", readers[0][1])]
    keys = _unique([key or str(number) for number, (key, _) in enumerate(readers, 1)])
    return [_read_entry(one_line(str(file)), key, read) for key, (_, read) in zip(keys, readers, strict=True)]


def _text_of(file: Path) -> str:
    if file.stat().st_size > MAX_FILE_BYTES:
        raise UnreadableError("The file is larger than 1 GB; split it.")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError("This is not a text file; give a CIF, POSCAR or JSON file.") from error


def _is_identifier(key: str, file: Path) -> bool:
    """Whether the one crystal of a file has a name that tells more than the name of the file."""
    return bool(key) and not key.isdigit() and file.suffix.lower() not in _CIF_ENDINGS


def _readers(file: Path, text: str, primitive: bool) -> Iterator[tuple[str, Reader]]:
    """What reads each crystal of a file, with its name."""
    start = text.lstrip()
    if start[:1] == "<":
        raise UnreadableError("This is a web page or XML, not a crystal; get the file itself.")
    if file.suffix.lower() == ".json" or start.startswith(("{", "[")):
        for name, entry in entries_of(json.loads(text)):
            yield name, partial(_of_json, entry)
    elif file.suffix.lower() in _CIF_ENDINGS or start.startswith("data_") or "\n_cell_length_a" in text:
        for name, block in split_blocks(text):
            yield name, partial(_of_cif, block, primitive)
    else:
        yield "", partial(read_poscar, text)


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
            warnings.simplefilter("ignore")  # what matters is checked, and said in a reason or a note
            structure, note = read()
    except MemoryError:
        raise
    # pymatgen raises whatever its parsers stumble over: the reason is kept and the other crystals are read.
    except Exception as error:  # noqa: BLE001
        return ReadStructure(name, None, _why_unread(error), key=key)
    reason = why_unusable(structure)
    if reason:
        return ReadStructure(name, None, reason, key=key)
    found = tuple(isotopes(structure))
    notes = [note] if note else []
    if found:
        notes.append(f"{' and '.join(found)} is taken for the element: no model sees masses.")
    if abs(structure._charge or 0) > 0:  # noqa: SLF001  the property counts oxidation states too
        notes.append("The charge of the cell is not seen by any model.")
    return ReadStructure(name, structure, note=" ".join(notes), key=key, isotopes=found)


def why_unusable(structure: Structure) -> str:
    """Why a structure cannot be predicted, as a sentence; empty if it can."""
    if not structure.is_ordered:
        return "The crystal has partial occupancies; give an ordered one."
    unknown = unknown_species(structure)
    if unknown:
        return f"The crystal has sites that are not elements: {', '.join(unknown)}."
    return ""


def _why_unread(error: BaseException) -> str:
    """What an error says, in one line; our own are sentences, of others the kind is named."""
    text = one_line(" ".join(str(error).split()))
    if type(error).__module__.startswith("mat2spec."):
        return text
    return f"The crystal does not parse: {text if type(error) is ValueError else f'{type(error).__name__}: {text}'}"


def _unique(names: Sequence[str]) -> list[str]:
    """Names with a number behind those that occur more than once."""
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 2
        while candidate in taken:
            candidate, number = f"{name}-{number}", number + 1
        taken.add(candidate)
        unique.append(candidate)
    return unique
