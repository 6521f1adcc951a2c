"""Prototypes of crystals: stoichiometry and space group, such as ``ABC3_221`` of a cubic perovskite."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import reduced_formulas
from mat2spec.crystals.symmetry import find_symmetry

# For crystals whose symmetry cannot be found, e.g. with two atoms at one position.
UNKNOWN_SPACE_GROUP = 0


def prototypes(crystals: Crystals) -> NDArray[np.object_]:
    """Prototype of each crystal, shape (n,): see `prototype_name`.

    The number of the space group does not depend on cell, origin or order of atoms; 0 where it cannot be found.
    """
    formulas = reduced_formulas(crystals)
    names = [
        prototype_name(str(formula), space_group_number(crystals, index)) if formula else ""
        for index, formula in enumerate(formulas)
    ]
    return np.array(names, dtype=object)


def prototype_name(formula: str, space_group: int) -> str:
    """Anonymous reduced formula and number of the space group.

    Examples
    --------
    >>> prototype_name("SrVO3", 221)
    'ABC3_221'
    """
    with warnings.catch_warnings():
        # pymatgen warns that noble gases have no electronegativity.
        warnings.simplefilter("ignore", UserWarning)
        return f"{Composition(formula).anonymized_formula}_{space_group}"


def space_group_number(crystals: Crystals, index: int) -> int:
    """Number of the space group of one crystal; 0 where it cannot be found."""
    try:
        return int(find_symmetry(crystals.cell(index)).number)
    except ValueError:
        return UNKNOWN_SPACE_GROUP
