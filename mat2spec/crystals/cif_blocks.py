"""Blocks of CIF files: their items, and what each must say before a crystal is made of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mat2spec.crystals.checks import MAX_CELLS, MAX_FRACTION
from mat2spec.crystals.cif_labels import check_label
from mat2spec.crystals.cif_text import CifError, uniform
from mat2spec.crystals.numbers import measured_number, number_or_fraction

LENGTH_KEYS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
ANGLE_KEYS = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
COORDINATE_KEYS = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_CATEGORIES = ("_cell_", "_atom_site_", "_symmetry_", "_space_group_", "_chemical_")
MODULATION_KEYS = (
    "_cell_modulation",
    "_cell_wave_vector",
    "_cell_subsystem",
    "_space_group_ssg",
    "_space_group.magn_ssg",
)
UNKNOWN_VALUES = {"", "?", "."}
_NO_GROUP = UNKNOWN_VALUES | {"0"}
# What a block may say once only: pymatgen keeps the last.
_ONCE = re.compile(
    r"(?<!\S)(_cell_(?:length|angle|volume|formula)\w*|_atom_site_(?:fract_\w|label|type_symbol|occupancy)|_chemical_formula_sum"
    r"|_symmetry_(?:equiv_pos_as_xyz|space_group_name\S+|Int_Tables_number)"
    r"|_space_group_(?:symop_operation_xyz|name\S+|IT_number))(?!\S)"
)
_CONFLICT = re.compile(r"^(<<<<<<< |>>>>>>> )", re.MULTILINE)
# Volume over the product of the lengths, below which three angles close no cell.
_LEAST_SHARE = 1e-6


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
        return measured_number(self.text(*keys))

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
    for line in uniform(text).splitlines(keepends=True):
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
    """Refuse a block that gives its cell, its symmetry or its sites twice; raises `CifError`."""
    if _CONFLICT.search(text):
        raise CifError(
            "The block holds two versions that were never merged (lines '<<<<<<<' and '>>>>>>>'); choose one."
        )
    seen: set[str] = set()
    within_text = False
    for line in text.splitlines():
        within_text ^= line.startswith(";")
        for name in [] if within_text else _ONCE.findall(line):
            if name in seen:
                raise CifError(
                    f"The block gives {name} twice: it holds two crystals, or two versions of one. Split it."
                )
            seen.add(name)


def check_values(block: Block) -> None:
    """Refuse an item without a value, for which the name of the next one is taken; raises `CifError`."""
    for name, value in block.items.items():
        if isinstance(value, str) and value.startswith("_") and value.lower().startswith(_CATEGORIES):
            raise CifError(f"The item {name} has no value: {value} follows at once. Write '?' or the value.")


def check_cell(block: Block) -> None:
    """Refuse lengths and angles that no cell has; raises `CifError`."""
    values = {}
    for key in (*LENGTH_KEYS, *ANGLE_KEYS):
        if not block.column(key):
            raise CifError(
                "The block gives no cell: _cell_length_a, _b, _c and _cell_angle_alpha, _beta, _gamma are needed."
            )
        if len(block.column(key)) > 1:
            raise CifError(f"The block gives {len(block.column(key))} values for {key}: one crystal has one cell.")
        text = block.column(key)[0].strip()
        values[key] = measured_number(text)
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
    hydrogens = sum(measured_number(value) or 0.0 for value in block.column("_atom_site_attached_hydrogens"))
    if hydrogens:
        raise CifError(
            f"{hydrogens:g} hydrogens are listed as attached to atoms (_atom_site_attached_hydrogens), but have no sites; "
            "give their coordinates."
        )
    if any(flag.strip() == "dum" for flag in block.column("_atom_site_calc_flag")):
        raise CifError("Some sites are dummies ('dum' in _atom_site_calc_flag); leave out what is not an atom.")
    _check_occupancies(block)
    _check_labels(block)


def _check_occupancies(block: Block) -> None:
    """Refuse shares that no site has and alternatives that exclude each other, and note sites that are left out."""
    shares = [text.strip() for text in block.column("_atom_site_occupancy") if text.strip() not in UNKNOWN_VALUES]
    for text in shares:
        if not 0 <= (-1.0 if (share := measured_number(text)) is None else share) <= 1:
            raise CifError(f"A site has the occupancy '{text}'; give a number from 0 to 1.")
    empty = sum(measured_number(text) == 0 for text in shares)
    if empty:
        block.notes.append(f"{empty} sites with an occupancy of zero are left out.")
    groups = block.column("_atom_site_disorder_group")
    assemblies = block.column("_atom_site_disorder_assembly") or [""] * len(groups)
    alternatives = {
        (assembly, group) for assembly, group in zip(assemblies, groups, strict=False) if group not in _NO_GROUP
    }
    if len(alternatives) > len({assembly for assembly, _ in alternatives}):
        raise CifError(
            "Some sites are alternatives of each other (_atom_site_disorder_group); leave the atoms of one group only."
        )


def _check_labels(block: Block) -> None:
    symbols = block.column("_atom_site_type_symbol")
    if not block.column("_atom_site_label"):
        # pymatgen requires labels; the symbols serve as well.
        block.items["_atom_site_label"] = list(symbols)
    for name in symbols or block.column("_atom_site_label"):
        check_label(name, is_symbol=bool(symbols))


def _check_fractions(block: Block) -> None:
    """Refuse coordinates that are far from the cell, and note those that could be Cartesian: pymatgen moves all into it."""
    largest = 0.0
    for key in COORDINATE_KEYS:
        fractions = [_fraction(text.strip()) for text in block.column(key)]
        largest = max([largest, *map(abs, fractions)])
        if any(re.search("[/dD]", text) for text in block.column(key)):
            block.items[key] = [repr(fraction) for fraction in fractions]
    if largest > MAX_FRACTION:
        block.notes.append("The fractional coordinates could be Cartesian ones: some are larger than 1.")


def _fraction(text: str) -> float:
    fraction = number_or_fraction(text)
    if fraction is None or not abs(fraction) <= MAX_CELLS:
        raise CifError(f"A fractional coordinate is '{text}', which is not a fraction of a lattice vector.")
    return fraction
