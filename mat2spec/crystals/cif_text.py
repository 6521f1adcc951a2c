"""One spelling for CIF files: names in any case or with the dots of CIF 2, signs that word processors put in.

pymatgen knows one spelling of each name, and drops every sign beyond ASCII: without its minus a coordinate is another one.
"""

from __future__ import annotations

import re
import unicodedata

_SUFFIXES = {
    "_cell": "length_a length_b length_c angle_alpha angle_beta angle_gamma volume formula_units_Z modulation_dimension",
    "_atom_site": "label type_symbol fract_x fract_y fract_z Cartn_x Cartn_y Cartn_z occupancy attached_hydrogens calc_flag "
    "disorder_assembly disorder_group symmetry_multiplicity site_symmetry_multiplicity Wyckoff_symbol",
    "_symmetry": "equiv_pos_as_xyz equiv_pos_site_id space_group_name_H-M space_group_name_Hall Int_Tables_number",
    "_space_group": "symop_operation_xyz symop_id name_H-M_alt name_H-M_full name_H-M_ref name_Hall IT_number",
    "_chemical_formula": "sum moiety structural weight",
    "_exptl_crystal": "density_diffrn",
}
_NAMES = {f"{head}_{tail}".lower(): f"{head}_{tail}" for head, tails in _SUFFIXES.items() for tail in tails.split()}
_NAME = re.compile(r"(?<!\S)_[A-Za-z]\S*")
_LOOP = re.compile(r"(?<!\S)loop_(?!\S)", re.IGNORECASE)
# Minus signs and dashes, quotation marks, the bar of a fraction.
_PLAIN = str.maketrans("\u2212\u2010\u2011\u2012\u2013\u2014\u2018\u2019\u201c\u201d\u2044\u2215", "------''\"\"//")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


class CifError(ValueError):
    """A block of a CIF holds no crystal, or a different one than it describes; the message says why."""


def uniform(text: str) -> str:
    """The same file in the spelling of the CIF core dictionary, in ASCII; signs that stand for nothing else become "?"."""
    if not text.isascii():
        plain = text.translate(_PLAIN)
        text = _BEYOND_ASCII.sub(lambda found: _in_ascii(found[0]), plain)
    return _LOOP.sub("loop_", _NAME.sub(_uniform_name, text))


def _in_ascii(sign: str) -> str:
    """A sign of the same meaning, as of a subscript or a blank that does not break, else a question mark."""
    same = unicodedata.normalize("NFKC", sign).translate(_PLAIN)
    return same if same.isascii() else "?"


def _uniform_name(found: re.Match[str]) -> str:
    return _NAMES.get(found[0].lower().replace(".", "_"), found[0])
