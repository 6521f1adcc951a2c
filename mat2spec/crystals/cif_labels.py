"""What the labels and symbols of sites in a CIF stand for: an element, or what no model knows."""

from __future__ import annotations

import re

from pymatgen.core import Element

from mat2spec.crystals.cif_text import CifError

_GROUPS = re.compile(r"(wat|oh2?|h2o|hoh|nh[34]|no3|so4|po4|co3|clo4|me|et|ph|solv)(?![a-z])", flags=re.IGNORECASE)
# Names of elements beyond lawrencium before they had one: no model knows them, and pymatgen takes them for uranium.
_PLACEHOLDERS = re.compile(r"U(u[nubtqphso]|n[nqphseo])")
# Vacancies, dummies, centroids, ghost atoms, halogens and pnictogens, which pymatgen takes for V, D, C, Ce, B, H and P.
_NO_ATOMS = frozenset(
    [
        "va",
        "vac",
        "vacancy",
        "void",
        "vide",
        "du",
        "dum",
        "dummy",
        "cg",
        "cen",
        "cent",
        "centroid",
        "cnt",
        "bq",
        "ghost",
        "em",
        "emp",
        "empty",
        "hal",
        "pn",
        "none",
    ]
)
# Endings of names of scattering factors and of atoms in water.
_ENDINGS = re.compile(r"(val|va|w|[ivx]+)$", flags=re.IGNORECASE)
_ROMAN = re.compile(r"[IVX]+")


def check_label(name: str, *, is_symbol: bool) -> None:
    """Refuse what does not stand for one element.

    Parameters
    ----------
    name
        Label or symbol of a site.
    is_symbol
        Whether it is a symbol (`_atom_site_type_symbol`), which has no number and no letter of its own.

    Raises
    ------
    CifError
        If it does not.
    """
    plain = name.strip().replace("-", "")
    letters = re.split(r"[^A-Za-z]", plain, maxsplit=1)[0]
    # O-H, OH2, Wat: an oxygen whose hydrogens have no sites. Co3 is the third cobalt.
    if _GROUPS.match(plain) and not Element.is_valid_symbol(letters):
        raise CifError(
            f"The site '{name}' represents a group of atoms; list each of them with its coordinates, including hydrogens."
        )
    if letters == "T" and not is_symbol:
        raise CifError(
            f"The site '{name}' may be one of tetrahedra or tritium; name its element (_atom_site_type_symbol)."
        )
    if _names_several(plain, letters, is_symbol=is_symbol):
        raise CifError(
            f"The site '{name}' names more than one element: partial occupancies, which no model knows. Give an ordered crystal."
        )
    if not _begins_with_element(letters) or (is_symbol and not _is_element(letters)):
        raise CifError(f"The site '{name}' is not an element.")


def _names_several(plain: str, letters: str, *, is_symbol: bool) -> bool:
    """Whether a name is that of a mixture, as Fe/Ni or, as a symbol, Fe0.5Ni0.5."""
    others = re.findall(r"[A-Z][a-z]?", plain[len(letters) :]) if is_symbol and letters else []
    return bool(re.search("[/,]", plain)) or any(
        Element.is_valid_symbol(other) and not _ROMAN.fullmatch(other) for other in others
    )


def _begins_with_element(letters: str) -> bool:
    if _PLACEHOLDERS.fullmatch(letters) or letters.lower() in _NO_ATOMS:
        return False
    return any(Element.is_valid_symbol(letters[:length].capitalize()) for length in (1, 2))


def _is_element(letters: str) -> bool:
    return any(Element.is_valid_symbol(word.capitalize()) for word in (letters, _ENDINGS.sub("", letters)))
