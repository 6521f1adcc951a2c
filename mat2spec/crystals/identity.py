"""Which crystal it is: hashes of the elements, lattice and coordinates of a cell as it is given.

There are two on purpose. `structure_hash` is the key under which results are stored in the DFT cache and beside the labels:
it distinguishes whatever differs by more than rounding errors, and must never change, or stored results would no longer be
found. `rounded_structure_hashes` decides whether a crystal of another table or release is the same, where databases round
coordinates differently: its steps are a hundred and ten times coarser, which would be wrong for a key (a change of 0.001
Angstrom is another calculation), just as the fine one would report every rounding as a changed structure. Runs of all
versions store the second, so neither can take the place of the other.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.cell import Cell

# Crystals of two tables that differ by less than this are the same.
LENGTH_STEP_A = 1e-3
FRACTION_STEP = 1e-4
HASH_BYTES = 8
# Coordinates are compared to this many decimals (Angstrom, fractions of a lattice vector).
_DECIMALS = 5


def structure_hash(cell: Cell) -> str:
    """First 16 hexadecimal digits of a SHA-256; another cell of the same crystal has another hash.

    Results are kept under this hash, in the DFT cache and beside the labels.
    """
    lattice = np.round(cell.lattice, _DECIMALS) + 0.0
    coordinates = np.round(np.mod(np.round(cell.frac_coords, _DECIMALS), 1.0), _DECIMALS) + 0.0
    parts = [np.asarray(cell.atomic_numbers, dtype="<i8"), lattice.astype("<f8"), coordinates.astype("<f8")]
    return hashlib.sha256(b"|".join(part.tobytes() for part in parts)).hexdigest()[:16]


def rounded_structure_hashes(crystals: Crystals) -> NDArray[np.object_]:
    """Hash of each crystal, shape (n,), with lattices rounded to 0.001 Angstrom and fractional coordinates to 0.0001.

    The order of sites counts.
    """
    lattices = _steps(crystals.lattices.reshape(-1, 9), LENGTH_STEP_A)
    per_cell = round(1 / FRACTION_STEP)
    coordinates = _steps(crystals.frac_coords, FRACTION_STEP) % per_cell
    numbers = crystals.atomic_numbers.astype(np.int64)
    hashes = np.empty(len(crystals), dtype=object)
    for index in range(len(crystals)):
        sites = crystals.sites(index)
        content = lattices[index].tobytes() + numbers[sites].tobytes() + coordinates[sites].tobytes()
        hashes[index] = hashlib.blake2b(content, digest_size=HASH_BYTES).hexdigest()
    return hashes


def _steps(values: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    """Whole steps; all numbers that are not finite count as equal."""
    return np.rint(np.nan_to_num(values / step, nan=-1.0, posinf=-1.0, neginf=-1.0)).astype(np.int64)
