"""Read crystals from the files that people have: CIF, POSCAR, pymatgen JSON."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymatgen.core import Structure
from pymatgen.io.cif import CifParser


@dataclass(frozen=True)
class ReadStructure:
    """One crystal of a file, or the reason why there is none.

    Parameters
    ----------
    name
        Name of the file, with a number or key behind it if it holds several crystals.
    structure
        The crystal; None if it cannot be used.
    reason
        Why not, as a sentence; empty if it can be used.
    """

    name: str
    structure: Structure | None
    reason: str = ""


def read_structures(files: Sequence[Path], primitive: bool = True) -> list[ReadStructure]:
    """All crystals of some files, in order; a file that cannot be read is one entry with its reason.

    Parameters
    ----------
    files
        CIF, POSCAR or pymatgen JSON files.
    primitive
        Whether the conventional cell of a CIF is reduced to the primitive one.
    """
    found: list[ReadStructure] = []
    for file in files:
        found += _read_file(file, primitive)
    return found


def _read_file(file: Path, primitive: bool) -> list[ReadStructure]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        return [ReadStructure(str(file), None, f"The file cannot be read: {error.strerror}.")]
    except UnicodeDecodeError:
        return [ReadStructure(str(file), None, "This is not a text file; give a CIF, POSCAR or JSON file.")]
    try:
        structures = _parse(file, text, primitive)
    # pymatgen raises whatever its parsers stumble over: the reason is kept and the other files are read.
    except Exception as error:  # noqa: BLE001
        return [ReadStructure(str(file), None, f"The file does not parse: {type(error).__name__}: {error}")]
    if not structures:
        return [ReadStructure(str(file), None, "The file contains no crystal.")]
    names = [str(file)] if list(structures) == ["1"] else [f"{file}#{key}" for key in structures]
    return [_usable(name, structure) for name, structure in zip(names, structures.values(), strict=True)]


def _usable(name: str, structure: Structure) -> ReadStructure:
    if not structure.is_ordered:
        return ReadStructure(name, None, "The crystal has partial occupancies; give an ordered one.")
    return ReadStructure(name, structure)


def _parse(file: Path, text: str, primitive: bool) -> dict[str, Structure]:
    """Crystals of a file by their number or key."""
    if file.suffix.lower() == ".json" or text.lstrip().startswith(("{", "[")):
        return _parse_json(json.loads(text))
    if file.suffix.lower() in {".cif", ".mcif"}:
        return _parse_cif(text, primitive)
    return {"1": Structure.from_str(text, fmt="poscar")}


def _parse_cif(text: str, primitive: bool) -> dict[str, Structure]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on rounding; what matters shows in the checks of the crystal
        structures = CifParser.from_str(text).parse_structures(primitive=primitive, on_error="raise")
    return {str(number): structure for number, structure in enumerate(structures, 1)}


def _parse_json(content: Any) -> dict[str, Structure]:
    """One structure, a list of them, or a mapping from identifiers to them, as `Structure.as_dict` writes it."""
    if isinstance(content, list):
        content = {str(number): entry for number, entry in enumerate(content, 1)}
    if "lattice" in content:
        content = {"1": content}
    return {str(key): Structure.from_dict(_structure_of(entry)) for key, entry in content.items()}


def _structure_of(entry: Any) -> Any:
    """A Materials Project document keeps its structure under that key."""
    return entry["structure"] if isinstance(entry, dict) and "structure" in entry else entry
