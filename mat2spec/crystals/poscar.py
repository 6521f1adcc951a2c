"""Read POSCAR files; elements are those given in the file and never guessed."""

from __future__ import annotations

import re
import warnings

import numpy as np
from pymatgen.core import Element, Structure

from mat2spec.crystals.species import ISOTOPES

_COUNTS_LINE = 5


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
    lines = text.lstrip("\ufeff").splitlines()
    if len(lines) < _COUNTS_LINE + 3:
        raise PoscarError("This is not a CIF, POSCAR or JSON file: it has fewer lines than a POSCAR needs.")
    _check_cell(lines)
    _check_counts(lines)
    names, note = _elements_of_first_line(lines)
    if not names:
        _check_names(lines)
    # With all that pymatgen knows of VASP.
    from pymatgen.io.vasp import Poscar

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is checked here
        poscar = Poscar.from_str("\n".join(_with_positive_scale(lines)), default_names=names, read_velocities=False)
    _check_coordinates(lines, poscar.structure)
    return poscar.structure, note


def _check_cell(lines: list[str]) -> None:
    numbers = [lines[1].split(), *(line.split()[:3] for line in lines[2:5])]
    try:
        values = [[float(word) for word in words] for words in numbers]
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


def _counts(line: str) -> list[int]:
    words = line.split("!", maxsplit=1)[0].split()
    return [int(word) for word in words] if words and all(word.isdigit() for word in words) else []


def _first_counts(lines: list[str]) -> int:
    """Row of the first numbers of atoms, below all lines of elements; the end of the file if there are none."""
    return next((row for row in range(_COUNTS_LINE, len(lines)) if _counts(lines[row])), len(lines))


def _counts_from(lines: list[str], row: int) -> tuple[list[int], int]:
    """Numbers of atoms from a row on, possibly over several lines, and the row below them."""
    counts: list[int] = []
    while row < len(lines) and (here := _counts(lines[row])):
        counts += here
        row += 1
    return counts, row


def _check_counts(lines: list[str]) -> None:
    """Refuse more atoms than there are lines before any list of them is made."""
    counted = sum(_counts_from(lines, _first_counts(lines))[0])
    if counted > len(lines):
        raise PoscarError(
            f"The file declares {counted:.6g} atoms but has {len(lines)} lines; correct the numbers of atoms."
        )


def _elements_of_first_line(lines: list[str]) -> tuple[list[str] | None, str]:
    """Elements of a VASP 4 file, which has them in its comment or after the coordinates, if at all."""
    counts = _counts(lines[_COUNTS_LINE])
    if not counts:
        return None, ""
    if _symbols_behind(lines, _first_site(lines, _COUNTS_LINE + 1), sum(counts)):
        return None, ""
    words = lines[0].split()
    if len(words) == len(counts) and all(_is_symbol(word) for word in words):
        return words, f"The file has no line of elements; its first line names them: {' '.join(words)}."
    raise PoscarError(
        "The file names no elements: the line above the numbers of atoms is missing (VASP 4). Add it, as in 'Sr V O'."
    )


def _check_names(lines: list[str]) -> None:
    """Refuse names that are not elements, or whose number differs from that of the counts below them."""
    if _counts(lines[_COUNTS_LINE]):
        return
    names = []
    row = _COUNTS_LINE
    while row < len(lines) and lines[row].split() and not lines[row].split()[0].isdigit():
        names += lines[row].split()
        row += 1
    counts, _ = _counts_from(lines, row)
    if len(names) != len(counts):
        raise PoscarError(
            f"The file names {len(names)} elements ({' '.join(names)}) but gives {len(counts)} numbers of atoms."
        )
    for name in names:
        if not _is_symbol(re.split(r"[/_]", name)[0]):
            raise PoscarError(f"'{name}' in the line of elements is not an element.")


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
        words = [word for word in line.split("!")[0].split()[3:] if word not in {"T", "F", ".TRUE.", ".FALSE."}]
        # A single F is fluorine; in a group of three it marks fixed coordinates.
        if not words and len(line.split()) == 4:
            words = line.split()[3:]
        symbols.append(re.split(r"[^A-Za-z]", words[0], maxsplit=1)[0] if words else "")
    return symbols if symbols and all(_is_symbol(symbol) for symbol in symbols) else []


def _with_positive_scale(lines: list[str]) -> list[str]:
    """A negative scale is the volume of the cell; coordinates in Angstrom are multiplied by the corresponding length."""
    scale = float(lines[1].split()[0])
    if scale >= 0:
        return lines
    lattice = np.array([[float(word) for word in line.split()[:3]] for line in lines[2:5]])
    volume = abs(np.linalg.det(lattice))
    if volume == 0:
        raise PoscarError("The lattice vectors lie in a plane.")
    return [lines[0], repr(float((-scale / volume) ** (1 / 3))), *lines[2:]]


def _check_coordinates(lines: list[str], structure: Structure) -> None:
    """Refuse more sites than declared, and elements after coordinates that contradict those above."""
    _, below = _counts_from(lines, _first_counts(lines))
    first = _first_site(lines, below)
    behind = first + len(structure)
    if behind < len(lines) and _is_site(lines[behind]):
        raise PoscarError(
            f"The file declares {len(structure)} atoms, but lists more coordinates than that; correct the numbers of atoms."
        )
    named = _symbols_behind(lines, first, len(structure))
    above = [site.specie.symbol for site in structure]
    for number, (name, symbol) in enumerate(zip(named, above, strict=False), 1):
        if name != symbol:
            raise PoscarError(
                f"Site {number} is {symbol} according to the line of elements but {name} according to the word after it."
            )


def _is_site(line: str) -> bool:
    words = line.split()[:3]
    try:
        return len([float(word) for word in words]) == 3
    except ValueError:
        return False
