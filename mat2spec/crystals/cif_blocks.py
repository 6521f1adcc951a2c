"""Blocks of CIF files: their items, and what each must say before a crystal is made of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pymatgen.core import Element
from pymatgen.io.cif import str2float

from mat2spec.crystals.checks import MAX_FRACTION

LENGTH_KEYS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
ANGLE_KEYS = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
COORDINATE_KEYS = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
MODULATION_KEYS = (
    "_cell_modulation",
    "_cell_wave_vector",
    "_cell_subsystem",
    "_space_group_ssg",
    "_space_group.magn_ssg",
)
UNKNOWN_VALUES = {"", "?", "."}
_GROUPS = re.compile(r"(wat|oh2?|h2o|hoh|nh[34]|no3|so4|po4|co3|clo4|me|et|ph|solv)(?![a-z])", flags=re.IGNORECASE)
# Names of elements beyond lawrencium before they had one: no model knows them, and pymatgen takes them for uranium.
_PLACEHOLDERS = re.compile(r"U(u[nubtqphso]|n[nqphseo])")
# What a block may say once only: pymatgen keeps the last.
_ONCE = re.compile(
    r"\s*(_cell_(?:length|angle)_\w+|_atom_site_(?:fract_\w|label)|_chemical_formula_sum)\b", re.IGNORECASE
)
# A molecule may reach over some cells; no atom is as many lattice vectors away from the origin.
_MAX_CELLS = 100.0
# Volume over the product of the lengths, below which three angles close no cell.
_LEAST_SHARE = 1e-6


class CifError(ValueError):
    """A block of a CIF holds no crystal, or a different one than it describes; the message says why."""


@dataclass
class Block:
    """Items of one block, as held by pymatgen's parser, and remarks collected while reading."""

    parser: Any
    data: Any
    notes: list[str] = field(default_factory=list)

    @property
    def items(self) -> dict[str, Any]:
        """Values of the block, lists of them for the columns of a loop."""
        return self.data.data

    def text(self, *keys: str) -> str:
        """The first of some items that has a value; "" if none does."""
        values = (self.items.get(key) for key in keys)
        texts = (value.strip() for value in values if isinstance(value, str))
        return next((text for text in texts if text not in UNKNOWN_VALUES), "")

    def number(self, *keys: str) -> float | None:
        """The first of some items that has a value, as a number; None if it is not one."""
        return number_of(self.text(*keys))

    def column(self, key: str) -> list[str]:
        """A column of a loop, or a single value outside a loop."""
        value = self.items.get(key, [])
        return [value] if isinstance(value, str) else list(value)


def split_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Name and text of each data block of a CIF, those without a crystal left out.

    Blocks with the same name are kept apart; a line `data_` within text between semicolons does not start a block.
    """
    blocks: list[list[str]] = []
    within_text = False
    for line in text.splitlines(keepends=True):
        if line.startswith(";"):
            within_text = not within_text
        begins = line.lstrip()[:5].lower() == "data_"
        if begins and not within_text:
            blocks.append([])
        if blocks:
            # pymatgen would begin a block here.
            blocks[-1].append(line.replace("_", " ", 1) if begins and within_text else line)
    for lines in blocks:
        block = "".join(lines).lstrip()
        if "_cell_length_a" in block or "_atom_site_" in block:
            yield block.split(maxsplit=1)[0][5:], block


def check_names(text: str) -> None:
    """Refuse a block that gives its cell or its sites twice; raises `CifError`."""
    seen: set[str] = set()
    within_text = False
    for line in text.splitlines():
        within_text ^= line.startswith(";")
        found = None if within_text else _ONCE.match(line)
        if found and found[1].lower() in seen:
            raise CifError(
                f"The block gives {found[1]} twice: it holds two crystals, or two versions of one. Split it."
            )
        if found:
            seen.add(found[1].lower())


def check_cell(block: Block) -> None:
    """Refuse lengths and angles that no cell has; raises `CifError`."""
    values = {}
    for key in (*LENGTH_KEYS, *ANGLE_KEYS):
        if not block.column(key):
            raise CifError(
                "The block gives no cell: _cell_length_a, _b, _c and _cell_angle_alpha, _beta, _gamma are needed."
            )
        text = block.column(key)[0].strip()
        values[key] = number_of(text)
        high = np.inf if key in LENGTH_KEYS else 180.0
        if not 0 < (values[key] or 0.0) < high:
            raise CifError(f"{key} is '{text}': no cell has that.")
    cosines = np.cos(np.radians([values[key] or 0.0 for key in ANGLE_KEYS]))
    squared = 1 - (cosines**2).sum() + 2 * cosines.prod()
    if squared < _LEAST_SHARE**2:
        angles = ", ".join(f"{values[key]:g}" for key in ANGLE_KEYS)
        raise CifError(f"No cell has the angles {angles}: its vectors would lie in a plane.")


def check_sites(block: Block) -> None:
    """Refuse lists of sites in which any entry is not an atom with coordinates."""
    if any(str(key).startswith(MODULATION_KEYS) for key in block.items):
        raise CifError("The crystal is modulated and has no periodic cell; give a commensurate approximant.")
    if not all(block.items.get(key) for key in COORDINATE_KEYS):
        cartesian = "_atom_site_Cartn_x" in block.items
        raise CifError(
            "The block gives Cartesian coordinates; give fractional ones (_atom_site_fract_x, _y, _z)."
            if cartesian
            else "The block does not parse: it lists no atoms (_atom_site_fract_x, _y, _z)."
        )
    for key in COORDINATE_KEYS:
        unknown = sum(value.strip() in UNKNOWN_VALUES for value in block.column(key))
        if unknown:
            raise CifError(f"{unknown} sites have no coordinate ('?' or '.' in {key}); their atoms would be missing.")
    _check_fractions(block)
    hydrogens = sum(number_of(value) or 0.0 for value in block.column("_atom_site_attached_hydrogens"))
    if hydrogens:
        raise CifError(
            f"{hydrogens:g} hydrogens are listed as attached to atoms (_atom_site_attached_hydrogens), but have no sites; "
            "give their coordinates."
        )
    if any(flag.strip() == "dum" for flag in block.column("_atom_site_calc_flag")):
        raise CifError("Some sites are dummies ('dum' in _atom_site_calc_flag); leave out what is not an atom.")
    empty = sum(number_of(share) == 0 for share in block.column("_atom_site_occupancy"))
    if empty:
        block.notes.append(f"{empty} sites with an occupancy of zero are left out.")
    _check_labels(block)


def _check_labels(block: Block) -> None:
    symbols = block.column("_atom_site_type_symbol")
    if not block.column("_atom_site_label"):
        # pymatgen requires labels; the symbols serve as well.
        block.items["_atom_site_label"] = list(symbols)
    for name in symbols or block.column("_atom_site_label"):
        plain = name.strip().replace("-", "")
        letters = re.split(r"[^A-Za-z]", plain, maxsplit=1)[0]
        # O-H, OH2, Wat: an oxygen whose hydrogens have no sites. Co3 is the third cobalt.
        if _GROUPS.match(plain) and not Element.is_valid_symbol(letters):
            raise CifError(
                f"The site '{name}' represents a group of atoms; list each of them with its coordinates, including hydrogens."
            )
        if _PLACEHOLDERS.fullmatch(letters) or not any(
            Element.is_valid_symbol(letters[:length].capitalize()) for length in (1, 2)
        ):
            raise CifError(f"The site '{name}' is not an element.")


def _check_fractions(block: Block) -> None:
    """Refuse coordinates that are far from the cell, and note those that could be Cartesian: pymatgen moves all into it."""
    largest = 0.0
    for text in (text for key in COORDINATE_KEYS for text in block.column(key)):
        fraction = number_of(text)
        if fraction is None or not abs(fraction) <= _MAX_CELLS:
            raise CifError(f"A fractional coordinate is '{text}', which is not a fraction of a lattice vector.")
        largest = max(largest, abs(fraction))
    if largest > MAX_FRACTION:
        block.notes.append("The fractional coordinates could be Cartesian ones: some are larger than 1.")


def number_of(text: str) -> float | None:
    """A number with or without its uncertainty in parentheses; None for any other text."""
    try:
        return float(str2float(text))
    except (ValueError, TypeError):
        return None
