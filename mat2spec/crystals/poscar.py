"""Read POSCAR files; elements are those given in the file and never guessed."""

from __future__ import annotations

import re
import warnings
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from pymatgen.core import Element, Structure

from mat2spec.crystals.numbers import plain_number
from mat2spec.crystals.species import ISOTOPES

_COUNTS_LINE = 5
# Direct, Cartesian, Kartesian, fractional: VASP takes whatever else for direct.
_KINDS = ("d", "c", "k", "f")


class _Header(NamedTuple):
    """Elements of a POSCAR, none in VASP 4, its numbers of atoms, and the row of its first site."""

    names: list[str]
    counts: list[int]
    first_site: int


class PoscarError(ValueError):
    """A POSCAR holds no crystal or contradicts itself; the message says why."""


def read_poscar(text: str) -> tuple[Structure, str]:
    """The crystal of a POSCAR, with remarks on how it was read.

    Raises
    ------
    PoscarError
        If elements are missing or contradict each other, or the file holds more or fewer atoms than it counts.
    ValueError, IndexError
        Whatever else pymatgen stumbles over.
    """
    lines = _without_comments(text.lstrip("\ufeff").splitlines())
    if len(lines) < _COUNTS_LINE + 3:
        raise PoscarError("This is not a CIF, POSCAR or JSON file: it has fewer lines than a POSCAR needs.")
    _check_cell(lines)
    header = _header(lines)
    _check_counts(lines, header)
    names, note = _elements_of_first_line(lines, header)
    if not names:
        _check_names(lines, header)
    lines = _with_plain_sites(lines, header)
    # With all that pymatgen knows of VASP.
    from pymatgen.io.vasp import Poscar

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is checked here
        poscar = Poscar.from_str("\n".join(_with_positive_scale(lines)), default_names=names, read_velocities=False)
    _check_coordinates(lines, header, poscar.structure)
    return poscar.structure, note


def _without_comments(lines: list[str]) -> list[str]:
    """The lines without what follows a "!" or "#", but for the first, which is a comment as a whole."""
    return lines[:1] + [re.split("[!#]", line, maxsplit=1)[0] for line in lines[1:]]


def _header(lines: list[str]) -> _Header:
    row = _COUNTS_LINE
    names: list[str] = []
    counts: list[int] = []
    while row < len(lines) and (words := lines[row].split()) and not re.match(r"[+-]?\.?\d", words[0]):
        names += words
        row += 1
    while row < len(lines) and (here := _counts(lines[row])) and (not names or len(counts) < len(names)):
        counts += here
        row += 1
    return _Header(names, counts, _first_site(lines, row))


def _check_cell(lines: list[str]) -> None:
    numbers = [lines[1].split(), *(line.split()[:3] for line in lines[2:5])]
    try:
        values = [[_number(word) for word in words] for words in numbers]
    except ValueError:
        values = []
    if len(values) != 4 or len(values[0]) not in {1, 3} or any(len(row) != 3 for row in values[1:]):
        raise PoscarError(
            "This is not a CIF, POSCAR or JSON file: a POSCAR has a scale in its second line and three lattice vectors below."
        )
    if len(values[0]) == 3:
        raise PoscarError(
            "The second line scales each axis by a separate number; multiply them into the lattice vectors."
        )


def _number(word: str) -> float:
    """Raises `ValueError` for what is not a plain number."""
    number = plain_number(word)
    if number is None:
        raise ValueError(word)
    return number


def _counts(line: str) -> list[int]:
    words = line.split()
    return [int(word) for word in words] if words and all(word.isdecimal() for word in words) else []


def _check_counts(lines: list[str], header: _Header) -> None:
    """Refuse more atoms than there are lines before any list of them is made."""
    counted = sum(header.counts)
    if counted > len(lines):
        raise PoscarError(
            f"The file declares {counted:.6g} atoms but has {len(lines)} lines; correct the numbers of atoms."
        )
    if header.counts and not counted:
        raise PoscarError("The file declares no atoms: all numbers of atoms are zero.")


def _elements_of_first_line(lines: list[str], header: _Header) -> tuple[list[str] | None, str]:
    """Elements of a VASP 4 file, which has them in its comment or after the coordinates, if at all."""
    counts = header.counts
    if header.names or _symbols_behind(lines, header.first_site, sum(counts)):
        return None, ""
    words = lines[0].split()
    if len(words) == len(counts) and all(_is_symbol(word) for word in words):
        return words, f"The file has no line of elements; its first line names them: {' '.join(words)}."
    raise PoscarError(
        "The file names no elements: the line above the numbers of atoms is missing (VASP 4). Add it, as in 'Sr V O'."
    )


def _check_names(lines: list[str], header: _Header) -> None:
    """Refuse names that are not elements, or whose number differs from that of the counts below them."""
    names, counts = header.names, header.counts
    if names and not counts:
        below = next((line.strip() for line in lines[_COUNTS_LINE + 1 :] if line.strip()), "")
        raise PoscarError(f"Below the elements there should be numbers of atoms, but there is '{below[:40]}'.")
    if names and len(names) != len(counts):
        raise PoscarError(
            f"The file names {len(names)} elements ({' '.join(names)}) but gives {len(counts)} numbers of atoms."
        )
    for name in names:
        if not _is_symbol(re.split(r"[/_]", name)[0]):
            raise PoscarError(f"'{name}' in the line of elements is not an element.")


def _with_plain_sites(lines: list[str], header: _Header) -> list[str]:
    """The lines with the coordinates as Python writes them; raises `PoscarError` where there are none."""
    kind = lines[header.first_site - 1].strip() if header.first_site <= len(lines) else ""
    if not kind.lower().startswith(_KINDS):
        raise PoscarError(f"The line above the coordinates must be 'Direct' or 'Cartesian', but is '{kind[:40]}'.")
    plain = list(lines)
    for row in range(header.first_site, header.first_site + sum(header.counts)):
        words = lines[row].split() if row < len(lines) else []
        numbers = [plain_number(word) for word in words[:3]]
        if len(numbers) < 3 or None in numbers:
            raise PoscarError(
                f"Line {row + 1} does not parse: it should hold three coordinates, but is '{' '.join(words)[:40]}'."
            )
        plain[row] = " ".join([*map(repr, numbers), *words[3:]])
    return plain


def _is_symbol(word: str) -> bool:
    return Element.is_valid_symbol(word) or word in ISOTOPES


def _first_site(lines: list[str], row: int) -> int:
    """Row of the first site below the numbers of atoms."""
    if row < len(lines) and lines[row].strip()[:1] in {"s", "S"}:
        row += 1
    return row + 1


def _symbols_behind(lines: list[str], first: int, n_sites: int) -> list[str]:
    """Elements after the coordinates of all sites; none if any site lacks one."""
    symbols = []
    for line in lines[first : first + n_sites]:
        words = [word for word in line.split()[3:] if word not in {"T", "F", ".TRUE.", ".FALSE."}]
        # A single F is fluorine; in a group of three it marks fixed coordinates.
        if not words and len(line.split()) == 4:
            words = line.split()[3:]
        symbols.append(re.split(r"[^A-Za-z]", words[0], maxsplit=1)[0] if words else "")
    return symbols if symbols and all(_is_symbol(symbol) for symbol in symbols) else []


def _with_positive_scale(lines: list[str]) -> list[str]:
    """A negative scale is the volume of the cell; coordinates in Angstrom are multiplied by the corresponding length."""
    scale = _number(lines[1].split()[0])
    if scale >= 0:
        return lines
    lattice = np.array([[_number(word) for word in line.split()[:3]] for line in lines[2:5]])
    volume = abs(np.linalg.det(lattice))
    if volume == 0:
        raise PoscarError("The lattice vectors lie in a plane.")
    return [lines[0], repr(float((-scale / volume) ** (1 / 3))), *lines[2:]]


def _check_coordinates(lines: list[str], header: _Header, structure: Structure) -> None:
    """Refuse more sites or crystals than declared, and elements after coordinates that contradict those above."""
    first = header.first_site
    behind = first + len(structure)
    if behind < len(lines) and _is_site(lines[behind]):
        raise PoscarError(
            f"The file declares {len(structure)} atoms, but lists more coordinates than that; correct the numbers of atoms."
        )
    if _holds_another(lines[behind:]):
        raise PoscarError("The file holds several crystals, such as the steps of a run (XDATCAR); keep one of them.")
    named = _symbols_behind(lines, first, len(structure))
    above = [site.specie.symbol for site in structure]
    for number, (name, symbol) in enumerate(zip(named, above, strict=False), 1):
        if name != symbol:
            raise PoscarError(
                f"Site {number} is {symbol} according to the line of elements but {name} according to the word after it."
            )


def _holds_another(lines: list[str]) -> bool:
    """Whether below the sites, where velocities and grids are allowed, another crystal begins."""
    return any(
        line.strip().lower().startswith("direct configuration")
        or (line.split() and all(map(_is_symbol, line.split())) and bool(_counts(below)))
        for line, below in pairwise([*lines, ""])
    )


def _is_site(line: str) -> bool:
    words = line.split()[:3]
    try:
        return len([float(word) for word in words]) == 3
    except ValueError:
        return False
