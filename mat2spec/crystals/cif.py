"""Read CIF files: block by block, without merging what is distinct, and held against what the file says of itself.

pymatgen parses the blocks. What it passes over is looked at here: groups of atoms instead of elements, hydrogens without
coordinates, symmetry that is named but not listed, a crystal that is not the one of the formula.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import spglib
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Element, Lattice, Structure
from pymatgen.io.cif import CifParser, str2float

from mat2spec.crystals.claims import Claims, read_formula
from mat2spec.crystals.contacts import MIN_CONTACT_RATIO, closest_contact
from mat2spec.crystals.space_groups import Setting, fit_lattice, operations, settings_named
from mat2spec.crystals.species import symbol_of
from mat2spec.crystals.symmetry import SYMMETRY_TOLERANCE_A

# Images of one site nearer than this are one atom on a special position whose coordinates were rounded; no two atoms
# of a crystal come as close.
IMAGE_TOLERANCE_A = 0.1
_SITE_TOLERANCE = 1e-4
OPERATION_KEYS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
HALL_KEYS = ("_space_group_name_Hall", "_symmetry_space_group_name_Hall", "_symmetry_space_group_name_hall")
SYMBOL_KEYS = (
    "_space_group_name_H-M_alt",
    "_symmetry_space_group_name_H-M",
    "_space_group_name_H-M_full",
    "_symmetry_space_group_name_H-M_full",
    "_symmetry_space_group_name_h-m",
)
NUMBER_KEYS = ("_space_group_IT_number", "_symmetry_Int_Tables_number")
COORDINATE_KEYS = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
MODULATION_KEYS = ("_cell_modulation_dimension", "_cell_wave_vector_seq_id", "_cell_subsystem_code")
UNKNOWN_VALUES = {"", "?", "."}
_GROUPS = re.compile(r"(wat|oh2?|h2o|hoh|nh[34]|no3|so4|po4|co3|clo4|me|et|ph|solv)(?![a-z])", flags=re.IGNORECASE)
# What pymatgen says of files that are read as they are meant.
_HARMLESS = (
    "rounded to ideal values",
    "No _symmetry_equiv_pos_as_xyz type key found",
    "1-line symmetry op P1 CIF",
    "Skipping relative stoichiometry check",
    "Keys changed to match new magCIF",
    "Issues encountered while parsing",
    "Missing elements",
    "Incorrect stoichiometry",
    "Cannot determine chemical composition",
    "No magnetic symmetry detected",
    "Possible issue in CIF file at line",
)


class CifError(ValueError):
    """A block of a CIF holds no crystal, or not the one that it describes; the message says why."""


@dataclass(frozen=True)
class CifCrystal:
    """The crystal of one block, and what a reader should know of how it was read."""

    structure: Structure
    notes: tuple[str, ...] = ()


@dataclass
class _Block:
    """Items of one block, as pymatgen's parser holds them, and remarks on the way."""

    parser: Any
    data: Any
    notes: list[str] = field(default_factory=list)

    @property
    def items(self) -> dict[str, Any]:
        """Values of the block, lists of them for the columns of a loop."""
        return self.data.data

    def text(self, *keys: str) -> str:
        """The first of some items that says something; "" if none does."""
        values = (self.items.get(key) for key in keys)
        texts = (value.strip() for value in values if isinstance(value, str))
        return next((text for text in texts if text not in UNKNOWN_VALUES), "")

    def number(self, *keys: str) -> float | None:
        """The first of some items that says something as a number; None if it is none."""
        return _number(self.text(*keys))

    def column(self, key: str) -> list[str]:
        """A column of a loop; a single value where it stands outside of one."""
        value = self.items.get(key, [])
        return [value] if isinstance(value, str) else list(value)


def split_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Name and text of each data block of a CIF, those without a crystal left out.

    Blocks of one name are kept apart; a line `data_` within a text between semicolons begins no block.
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


def read_block(text: str, *, primitive: bool) -> CifCrystal:
    """The crystal of one block.

    Parameters
    ----------
    text
        The block, from its `data_`.
    primitive
        Whether the cell is reduced to a primitive one, at a tolerance of 0.01 Angstrom and with all atoms where they are.

    Raises
    ------
    CifError
        If the block holds no crystal, or contradicts what it says of it.
    ValueError, KeyError
        Whatever else pymatgen stumbles over.
    """
    with warnings.catch_warnings():
        # pymatgen keeps what it warns of in `CifParser.warnings`, which is looked at below.
        warnings.simplefilter("ignore")
        parser: Any = CifParser.from_str("data_" + text[5:])
        (data,) = parser._cif.data.values()  # noqa: SLF001  its items are offered nowhere else, and some are added
        block = _Block(parser, data)
        _check_sites(block)
        structure = _structure_of(block)
        if primitive:
            structure = to_primitive(structure)
    block.notes += [warning for warning in parser.warnings if not any(word in warning for word in _HARMLESS)]
    if parser.feature_flags["magcif"]:
        block.notes.append("The magnetic moments of the file are not seen by any model.")
    return CifCrystal(structure, tuple(dict.fromkeys(note.replace("\n", " ") for note in block.notes)))


def to_primitive(structure: Structure, tolerance_a: float = SYMMETRY_TOLERANCE_A) -> Structure:
    """A primitive cell of the same crystal, with every atom where it is; the structure itself where it is primitive.

    Only translations that map all atoms on atoms to within the tolerance are taken out: a distortion that is larger
    keeps the cell that it needs.
    """
    if not structure.is_ordered:
        return structure
    # Numbers of kinds instead of elements keep isotopes apart.
    kinds = sorted({site.specie for site in structure}, key=symbol_of)
    numbers = [kinds.index(site.specie) + 1 for site in structure]
    cell: Any = (structure.lattice.matrix, structure.frac_coords, numbers)
    found: Any = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=tolerance_a)
    if found is None or len(found[2]) >= len(structure):
        return structure
    return Structure(found[0], [kinds[number - 1] for number in found[2].tolist()], found[1])


def _check_sites(block: _Block) -> None:
    """Refuse lists of sites in which something is not an atom with coordinates."""
    if any(key in block.items for key in MODULATION_KEYS):
        raise CifError("The crystal is modulated: it has no cell that repeats; give a commensurate approximant.")
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
    hydrogens = sum(_number(value) or 0.0 for value in block.column("_atom_site_attached_hydrogens"))
    if hydrogens:
        raise CifError(
            f"{hydrogens:g} hydrogens are said to be attached to atoms (_atom_site_attached_hydrogens), but have no sites; "
            "give their coordinates."
        )
    _check_labels(block)


def _check_labels(block: _Block) -> None:
    symbols = block.column("_atom_site_type_symbol")
    if not block.column("_atom_site_label"):
        # pymatgen asks for labels; the symbols say the same.
        block.items["_atom_site_label"] = list(symbols)
    for name in symbols or block.column("_atom_site_label"):
        plain = name.strip().replace("-", "")
        letters = re.split(r"[^A-Za-z]", plain, maxsplit=1)[0]
        # O-H, OH2, Wat: an oxygen whose hydrogens have no sites. Co3 is the third cobalt.
        if _GROUPS.match(plain) and not Element.is_valid_symbol(letters):
            raise CifError(
                f"The site '{name}' stands for a group of atoms; list each of them with its coordinates, hydrogens too."
            )
        if not any(Element.is_valid_symbol(letters[:length].capitalize()) for length in (1, 2)):
            raise CifError(f"The site '{name}' is not an element.")


def _structure_of(block: _Block) -> Structure:
    lattice = block.parser.get_lattice(block.data)
    if lattice is None:
        raise CifError(
            "The block gives no cell: _cell_length_a, _b, _c and _cell_angle_alpha, _beta, _gamma are needed."
        )
    claims = _claims_of(block)
    if block.parser.feature_flags["magcif"]:
        return _checked(_parsed(block), claims)
    listed = _listed_operations(block)
    stated = settings_named(block.text(*HALL_KEYS), block.text(*SYMBOL_KEYS), _group_number(block))
    _check_stated(block, stated)
    if not listed:
        return _by_stated_group(block, claims, stated, lattice)
    if not fit_lattice(listed, lattice.matrix):
        raise CifError(
            "The symmetry operations do not fit the cell: they make lengths or angles equal that the file gives as "
            "different."
        )
    structure = _checked(_parsed(block), claims)
    if stated and len(listed) < len(operations(stated[0])) and not claims.count_atoms:
        _require_group(structure, stated[0])
    return structure


def _listed_operations(block: _Block) -> list[str]:
    for key in OPERATION_KEYS:
        found = [text for text in block.column(key) + block.column(f"{key}_") if text.strip() not in UNKNOWN_VALUES]
        if found:
            return found
    return []


def _group_number(block: _Block) -> int | None:
    number = block.number(*NUMBER_KEYS)
    return None if number is None else int(number)


def _check_stated(block: _Block, stated: list[Setting]) -> None:
    """Refuse a group that is named in two ways which are not the same."""
    number = _group_number(block)
    if number and stated and all(setting.number != number for setting in stated):
        raise CifError(
            f"The file names the space group {stated[0].name}, number {stated[0].number}, and the number {number}; correct "
            "one of them."
        )


def _by_stated_group(block: _Block, claims: Claims, stated: list[Setting], lattice: Lattice) -> Structure:
    """The crystal of a block that names its space group and lists no operations."""
    named = block.text(*HALL_KEYS) or block.text(*SYMBOL_KEYS) or block.text(*NUMBER_KEYS)
    if named and not stated:
        raise CifError(
            f"The file names the space group '{named}' without listing its symmetry operations, and the symbol is not "
            "known; list the operations (_space_group_symop_operation_xyz)."
        )
    if not stated:
        block.items[OPERATION_KEYS[0]] = ["x, y, z"]
        structure = _checked(_parsed(block), claims)
        if not claims.count_atoms:
            block.notes.append("The file states no symmetry: its sites are taken for all atoms of the cell.")
        return structure
    return _only_possible(block, claims, stated, lattice)


def _only_possible(block: _Block, claims: Claims, stated: list[Setting], lattice: Lattice) -> Structure:
    """Try all settings that a symbol leaves open; one alone must give a crystal that fits the file."""
    possible: list[tuple[Setting, Structure]] = []
    reasons: list[str] = []
    for setting in stated:
        listed = operations(setting)
        if not fit_lattice(listed, lattice.matrix):
            reasons.append(f"The cell does not have the symmetry {setting.name} that the file names.")
            continue
        block.items[OPERATION_KEYS[0]] = listed
        try:
            structure = _checked(_parsed(block), claims)
            _check_contacts(structure, setting)
        except CifError as error:
            reasons.append(str(error))
            continue
        if not any(_is_same(structure, other) for _, other in possible):
            possible.append((setting, structure))
    if not possible:
        raise CifError(reasons[0])
    if len(possible) > 1:
        names = " or ".join(setting.name for setting, _ in possible)
        raise CifError(
            f"The file lists no symmetry operations, and its space group is {names}: these give different crystals. List the "
            "operations (_space_group_symop_operation_xyz) or name the setting."
        )
    setting, structure = possible[0]
    block.notes.append(f"The file lists no symmetry operations; those of {setting.name} were used.")
    return structure


def _check_contacts(structure: Structure, setting: Setting) -> None:
    """Refuse a setting that puts atoms into each other."""
    numbers = np.array([site.species.elements[0].Z for site in structure])
    if closest_contact(structure.lattice.matrix, structure.frac_coords, numbers).ratio < MIN_CONTACT_RATIO:
        raise CifError(f"With the symmetry operations of {setting.name} atoms overlap; list the operations.")


def _is_same(one: Structure, other: Structure) -> bool:
    return len(one) == len(other) and bool(StructureMatcher(scale=False, attempt_supercell=False).fit(one, other))


def _require_group(structure: Structure, setting: Setting) -> None:
    """Refuse a crystal without the symmetry that its file names and does not list in full."""
    if not structure.is_ordered:
        return
    cell: Any = (structure.lattice.matrix, structure.frac_coords, structure.atomic_numbers)
    found = spglib.get_spacegroup(cell, symprec=10 * SYMMETRY_TOLERANCE_A)
    number = int(found.rpartition("(")[2].rstrip(")")) if found else 1
    if number < setting.number:
        raise CifError(
            f"The file names the space group {setting.name}, but its sites and symmetry operations give {found or 'P1'}: "
            "operations are missing."
        )


def _parsed(block: _Block) -> Structure:
    """The crystal as pymatgen reads it; images of a site that nearly coincide are one atom."""
    structure = _parsed_within(block, _SITE_TOLERANCE)
    if not structure.is_ordered or _closest_image(structure) >= IMAGE_TOLERANCE_A:
        return structure
    try:
        merged = _parsed_within(block, IMAGE_TOLERANCE_A / max(structure.lattice.abc))
    except ValueError:
        return structure
    # Different elements in one place stay two atoms, which overlap.
    return merged if merged.is_ordered else structure


def _parsed_within(block: _Block, tolerance: float) -> Structure:
    """The crystal with sites merged that are nearer than a fraction of the lattice vectors."""
    block.parser._site_tolerance = tolerance  # noqa: SLF001  known only once there is a lattice
    (structure,) = block.parser.parse_structures(primitive=False, on_error="raise")
    return structure


def _closest_image(structure: Structure) -> float:
    """Distance of the two sites of one label that are closest to each other, in Angstrom."""
    first, second, _, distances = structure.get_neighbor_list(IMAGE_TOLERANCE_A)
    labels = np.array(structure.labels)
    return float(distances[labels[first] == labels[second]].min(initial=np.inf))


def _checked(structure: Structure, claims: Claims) -> Structure:
    # Of partial occupancies neither the formula nor the number of atoms is compared: such a crystal is refused anyway.
    problem = claims.contradiction(structure) if structure.is_ordered else None
    if problem:
        raise CifError(problem)
    return structure


def _claims_of(block: _Block) -> Claims:
    density = block.number("_exptl_crystal_density_diffrn")
    volume = block.number("_cell_volume")
    return Claims(
        formula=read_formula(block.text("_chemical_formula_sum", "_chemical_formula_structural")),
        n_units=block.number("_cell_formula_units_Z") or None,
        volume=volume or None,
        density=density or None,
    )


def _number(text: str) -> float | None:
    """A number with or without its uncertainty in brackets; None of any other text."""
    try:
        return float(str2float(text))
    except (ValueError, TypeError):
        return None
