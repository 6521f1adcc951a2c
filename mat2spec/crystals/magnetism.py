"""Which crystals can be magnetic, from their elements alone."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.composition import symbols

# Solids of these often have local moments, whether metallic or not.
MAGNETIC_ELEMENTS = frozenset(
    {"Cr", "Mn", "Fe", "Co", "Ni"} | {"Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb"}
)
# These have local moments only in the presence of an anion; in intermetallics their d bands are too wide.
MAGNETIC_BESIDE_ANIONS = frozenset({"Ti", "V", "Cu", "Mo", "Ru", "Re", "Os", "Ir"})
_ANIONS = frozenset({"N", "O", "F", "S", "Cl", "Se", "Br", "I"})


def open_shell_elements(found: AbstractSet[str]) -> set[str]:
    """Those of the elements of a crystal whose open d or f shell can hold a moment in it."""
    return set(found & MAGNETIC_ELEMENTS) | (set(found & MAGNETIC_BESIDE_ANIONS) if found & _ANIONS else set())


def can_be_magnetic(atomic_numbers: NDArray[np.integer]) -> bool:
    """Whether a primitive cell has an element that can hold a moment, or an odd number of electrons.

    Parameters
    ----------
    atomic_numbers
        Atoms of the primitive cell, shape (n,): two odd cells together are even.
    """
    found = {symbols()[int(number)] for number in atomic_numbers}
    return bool(open_shell_elements(found)) or bool(int(np.sum(atomic_numbers)) % 2)
