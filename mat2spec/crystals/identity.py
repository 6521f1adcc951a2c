"""Which crystal it is: a hash of its elements, lattice and coordinates."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

# Coordinates are compared to this many decimals (Angstrom, fractions of a lattice vector).
_DECIMALS = 5


def structure_hash(
    lattice: NDArray[np.floating], frac_coords: NDArray[np.floating], atomic_numbers: NDArray[np.integer]
) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a cell as it is given: another cell of the crystal has another hash.

    Results are kept under this hash, in the DFT cache and beside the labels.

    Parameters
    ----------
    lattice
        Lattice vectors as rows, in Angstrom, shape (3, 3).
    frac_coords
        Fractional coordinates, shape (n, 3).
    atomic_numbers
        Shape (n,).
    """
    rounded = np.round(lattice, _DECIMALS) + 0.0
    coordinates = np.round(np.mod(np.round(frac_coords, _DECIMALS), 1.0), _DECIMALS) + 0.0
    parts = [np.asarray(atomic_numbers, dtype="<i8"), rounded.astype("<f8"), coordinates.astype("<f8")]
    return hashlib.sha256(b"|".join(part.tobytes() for part in parts)).hexdigest()[:16]
