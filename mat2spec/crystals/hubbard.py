"""Hubbard U as the Materials Project applies it, from the elements of a crystal alone.

Some 3d, 4d and 5d metals have a U beside oxygen or fluorine (A. Jain et al., Phys. Rev. B 84, 045115 (2011)).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.composition import symbols

# Of the d shells.
_U_VALUES_EV = {"Co": 3.32, "Cr": 3.7, "Fe": 5.3, "Mn": 3.9, "Mo": 4.38, "Ni": 6.2, "V": 3.25, "W": 6.2}
_ANIONS = frozenset({"O", "F"})


def u_values_ev(found: AbstractSet[str]) -> dict[str, float]:
    """Hubbard U in eV of those of the elements of a crystal that have one.

    Examples
    --------
    >>> u_values_ev({"Ni", "O"}), u_values_ev({"Ni", "S"})
    ({'Ni': 6.2}, {})
    """
    return {symbol: _U_VALUES_EV[symbol] for symbol in sorted(found & _U_VALUES_EV.keys())} if found & _ANIONS else {}


def site_u_ev(atomic_numbers: NDArray[np.integer]) -> NDArray[np.float32]:
    """Hubbard U in eV of each site of a crystal, zero where there is none, shape (n,)."""
    elements = [symbols()[int(number)] for number in atomic_numbers]
    values = u_values_ev(set(elements))
    return np.array([values.get(symbol, 0.0) for symbol in elements], dtype=np.float32)
