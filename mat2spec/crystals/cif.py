"""Read CIF files block by block, without merging distinct atoms, and check them for self-consistency.

pymatgen parses the blocks. What it ignores is checked here: groups of atoms instead of elements, hydrogens without
coordinates, symmetry that is named but not listed, a crystal that does not match the formula.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import spglib
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifParser

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.checks import MAX_VOLUME_PER_ATOM_A3, TOO_EMPTY, problem_of_cell
from mat2spec.crystals.cif_blocks import UNKNOWN_VALUES, Block, check_cell, check_names, check_sites, check_values
from mat2spec.crystals.cif_text import CifError
from mat2spec.crystals.claims import Claims, read_elements, read_formula
from mat2spec.crystals.compact import reduce_skewed_cells
from mat2spec.crystals.contacts import MIN_CONTACT_RATIO, closest_contact
from mat2spec.crystals.numbers import measured_number
from mat2spec.crystals.space_groups import (
    SpaceGroupSetting,
    fit_lattice,
    operations,
    problem_of_operations,
    settings_named,
)
from mat2spec.crystals.species import symbol_of
from mat2spec.crystals.symmetry import SYMMETRY_TOLERANCE_A

# Images of one site closer than this are one atom on a special position with rounded coordinates; no two atoms of a
# crystal are as close.
IMAGE_TOLERANCE_A = 0.1
_SITE_TOLERANCE = 1e-4
_BOX_A = 1.0
OPERATION_KEYS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
HALL_KEYS = ("_space_group_name_Hall", "_symmetry_space_group_name_Hall", "_symmetry_space_group_name_hall")
SYMBOL_KEYS = (
    "_space_group_name_H-M_alt",
    "_symmetry_space_group_name_H-M",
    "_space_group_name_H-M_full",
    "_space_group_name_H-M_ref",
    "_symmetry_space_group_name_H-M_full",
    "_symmetry_space_group_name_h-m",
)
NUMBER_KEYS = ("_space_group_IT_number", "_symmetry_Int_Tables_number")
_PARSED_AS = re.compile(r"(\S+) parsed as (\S+)")
_SHARED_PLACE = re.compile(r"Occupancy (\S+) exceeded")
# Warnings of pymatgen about files that are read correctly.
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


@dataclass(frozen=True)
class CifCrystal:
    """The crystal of one block, with remarks on how it was read."""

    structure: Structure
    notes: tuple[str, ...] = ()


def read_block(text: str, *, primitive: bool) -> CifCrystal:
    """The crystal of one block.

    Parameters
    ----------
    text
        The block, from its `data_`.
    primitive
        Whether to reduce the cell to a primitive one, with a tolerance of 0.01 Angstrom and without moving atoms.

    Raises
    ------
    CifError
        If the block holds no crystal, or contradicts itself.
    ValueError, KeyError
        Any other failure of pymatgen.
    """
    with warnings.catch_warnings():
        # pymatgen stores its warnings in `CifParser.warnings`, which are evaluated below.
        warnings.simplefilter("ignore")
        check_names(text)
        parser: Any = _parser_of("data_" + text[5:])
        (data,) = parser._cif.data.values()  # noqa: SLF001  its items are not available elsewhere, and some are added
        block = Block(parser, data)
        check_values(block)
        check_sites(block)
        check_cell(block)
        structure = _structure_of(block)
        if primitive:
            structure = to_primitive(structure)
    warned = [warning for warning in parser.warnings if not any(word in warning for word in _HARMLESS)]
    block.notes += [_PARSED_AS.sub(r"'\1' is read as \2.", warning) for warning in warned]
    if parser.feature_flags["magcif"]:
        block.notes.append("The magnetic moments of the file are ignored by all models.")
    return CifCrystal(structure, tuple(dict.fromkeys(note.replace("\n", " ") for note in block.notes)))


def _parser_of(text: str) -> Any:
    try:
        return CifParser.from_str(text)
    except ValueError as error:
        if "zip()" in str(error) or "not a multiple" in str(error):
            raise CifError("A loop of the block has values left over that fill none of its rows.") from error
        raise
    except KeyError as error:
        raise CifError(f"The block does not give {error}, without which its sites have no meaning.") from error
    except ZeroDivisionError as error:
        raise CifError("A loop of the block, such as that of its sites, has names but no values.") from error


def to_primitive(structure: Structure, tolerance_a: float = SYMMETRY_TOLERANCE_A) -> Structure:
    """A primitive cell of the same crystal without moving atoms; the structure itself if it is primitive.

    Only translations that map all atoms onto atoms within the tolerance are removed: a larger distortion keeps its
    larger cell.
    """
    if not structure.is_ordered:
        return structure
    # Numbers of species instead of elements keep isotopes apart.
    kinds = sorted({site.specie for site in structure}, key=symbol_of)
    numbers = [kinds.index(site.specie) + 1 for site in structure]
    cell: Any = (structure.lattice.matrix, structure.frac_coords, numbers)
    found: Any = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=tolerance_a)
    if found is None or len(found[2]) >= len(structure):
        return structure
    return Structure(found[0], [kinds[number - 1] for number in found[2].tolist()], found[1])


def _structure_of(block: Block) -> Structure:
    lattice = block.parser.get_lattice(block.data)
    assert lattice is not None
    claims = _claims_of(block)
    if block.parser.feature_flags["magcif"]:
        return _checked(_parsed(block), claims)
    listed = _listed_operations(block)
    stated = settings_named(block.text(*HALL_KEYS), block.text(*SYMBOL_KEYS), _group_number(block))
    _check_stated(block, stated)
    if not listed:
        return _by_stated_group(block, claims, stated, lattice)
    problem = problem_of_operations(listed)
    if problem:
        raise CifError(problem)
    if not fit_lattice(listed, lattice.matrix):
        raise CifError(
            "The symmetry operations do not fit the cell: they make lengths or angles equal that the file gives as "
            "different."
        )
    structure = _checked(_parsed(block), claims)
    if stated and len(listed) < len(operations(stated[0])) and not claims.count_atoms:
        _require_group(structure, stated[0])
    return structure


def _listed_operations(block: Block) -> list[str]:
    for key in OPERATION_KEYS:
        found = [text for text in block.column(key) + block.column(f"{key}_") if text.strip() not in UNKNOWN_VALUES]
        if found:
            return found
    return []


def _group_number(block: Block) -> int | None:
    number = block.number(*NUMBER_KEYS)
    return int(number) if number is not None and number.is_integer() else None


def _check_stated(block: Block, stated: list[SpaceGroupSetting]) -> None:
    """Refuse a block that gives two different space groups."""
    number = _group_number(block)
    if number and stated and all(setting.number != number for setting in stated):
        raise CifError(
            f"The file names the space group {stated[0].name}, number {stated[0].number}, and the number {number}; correct "
            "one of them."
        )


def _by_stated_group(block: Block, claims: Claims, stated: list[SpaceGroupSetting], lattice: Lattice) -> Structure:
    """The crystal of a block that names its space group but lists no operations."""
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
            block.notes.append("The file states no symmetry: its sites are taken as all atoms of the cell.")
        return structure
    return _only_possible(block, claims, stated, lattice)


def _only_possible(block: Block, claims: Claims, stated: list[SpaceGroupSetting], lattice: Lattice) -> Structure:
    """Try all settings compatible with a symbol; exactly one must give a crystal that fits the file."""
    possible: list[tuple[SpaceGroupSetting, Structure]] = []
    reasons: list[str] = []
    for setting in stated:
        listed = operations(setting)
        if not fit_lattice(listed, lattice.matrix):
            reasons.append(f"The cell does not have the symmetry {setting.name} named in the file.")
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


def _check_contacts(structure: Structure, setting: SpaceGroupSetting) -> None:
    """Refuse a setting in which atoms overlap."""
    numbers = np.array([site.species.elements[0].Z for site in structure])
    if closest_contact(structure.lattice.matrix, structure.frac_coords, numbers).ratio < MIN_CONTACT_RATIO:
        raise CifError(f"With the symmetry operations of {setting.name} atoms overlap; list the operations.")


def _is_same(one: Structure, other: Structure) -> bool:
    return len(one) == len(other) and bool(StructureMatcher(scale=False, attempt_supercell=False).fit(one, other))


def _require_group(structure: Structure, setting: SpaceGroupSetting) -> None:
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


def _parsed(block: Block) -> Structure:
    """The crystal as read by pymatgen, with nearly coinciding images of a site merged."""
    structure = _parsed_within(block, _SITE_TOLERANCE)
    if not structure.is_ordered or _closest_image(structure) >= IMAGE_TOLERANCE_A:
        return structure
    try:
        merged = _parsed_within(block, IMAGE_TOLERANCE_A / max(structure.lattice.abc))
    except ValueError:
        return structure
    # Different elements at one position remain two overlapping atoms.
    return merged if merged.is_ordered else structure


def _parsed_within(block: Block, tolerance: float) -> Structure:
    """The crystal with sites merged that are closer than a fraction of the lattice vectors."""
    block.parser._site_tolerance = tolerance  # noqa: SLF001  known only once there is a lattice
    try:
        (structure,) = block.parser.parse_structures(primitive=False, on_error="raise")
    except ValueError as error:
        if "thickness" in str(error):
            raise CifError("The cell is thinner than an atom: flat lattice or wrong unit.") from error
        if shared := _SHARED_PLACE.search(str(error)):
            raise CifError(
                f"The occupancies of atoms in one place add up to {shared[1]}: sites are listed beside their own symmetric "
                "images, or two atoms have one place."
            ) from error
        raise
    return structure


def _closest_image(structure: Structure) -> float:
    """Distance of the two sites of one label that are closest to each other, in Angstrom, if it is small.

    Raises
    ------
    CifError
        If the cell has a size or shape in which no search for neighbours ends.
    """
    compact = reduce_skewed_cells(Crystals.from_structures([structure]))
    problem = problem_of_cell(compact.lattices[0])
    if problem is None and compact.volumes[0] > MAX_VOLUME_PER_ATOM_A3 * len(structure):
        problem = TOO_EMPTY
    if problem:
        raise CifError(problem)
    cell = Structure(compact.lattices[0], ["H"] * len(structure), compact.frac_coords)
    # The search sorts the sites into boxes of this size, of which a large cell must not need too many.
    first, second, _, distances = cell.get_neighbor_list(_BOX_A)
    labels = np.array(structure.labels)
    return float(distances[labels[first] == labels[second]].min(initial=np.inf))


def _checked(structure: Structure, claims: Claims) -> Structure:
    # With partial occupancies formula and number of atoms are not compared: such crystals are refused anyway.
    problem = claims.contradiction(structure) if structure.is_ordered else None
    if problem:
        raise CifError(problem)
    return structure


def _claims_of(block: Block) -> Claims:
    density = block.number("_exptl_crystal_density_diffrn")
    volume = block.number("_cell_volume")
    return Claims(
        formula=read_formula(block.text("_chemical_formula_sum", "_chemical_formula_structural")),
        elements=read_elements(block.text("_chemical_formula_moiety", "_chemical_formula_structural")),
        n_units=block.number("_cell_formula_units_Z") or None,
        n_sites=_number_by_multiplicities(block),
        volume=volume or None,
        density=density or None,
    )


def _number_by_multiplicities(block: Block) -> int | None:
    """Atoms in the cell by the multiplicities of Wyckoff positions; without letters programs write other numbers there."""
    counts = [
        number
        for text in block.column("_atom_site_symmetry_multiplicity")
        or block.column("_atom_site_site_symmetry_multiplicity")
        if (number := measured_number(text)) is not None
    ]
    letters = [text for text in block.column("_atom_site_Wyckoff_symbol") if text.strip() not in UNKNOWN_VALUES]
    n_rows = len(block.column("_atom_site_label"))
    return round(sum(counts)) if counts and len(counts) == len(letters) == n_rows else None
