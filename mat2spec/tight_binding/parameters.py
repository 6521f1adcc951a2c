"""Tables of two-centre integrals for 91 elements: file, units, interpolation.

Units: eV and Angstrom. Frame: z from the first atom to the second, real harmonics in that frame on both atoms, radial
functions with positive tails; channels in the order of `mat2spec.tight_binding.channels`. Between tabulated distances
a cubic spline; over the last `CUT_WIDTH_A` before the cut-off of a pair a polynomial with two vanishing derivatives
takes the integrals to zero. On-site energies are levels of the free atoms on one absolute scale (vacuum zero).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from mat2spec.tables.files import atomic_path, file_sha256
from mat2spec.tight_binding.channels import DIRECTED_CHANNELS, N_CHANNELS, SYMMETRIC_CHANNELS

PARAMETERS_FILE = Path(__file__).with_name("slater_koster_tables.npz")
FORMAT_VERSION = 1
CUT_WIDTH_A = 1.0
_SMALL_ARRAYS = ("atomic_numbers", "on_site_ev", "valence_electrons", "hubbard_u_ev", "distances_a", "cutoffs_a")
_MAKE = "`python -m scripts.tight_binding_parameters`"


class ParametersError(ValueError):
    """Tables are missing or damaged or lack an element; the message says which."""


@dataclass(frozen=True)
class SlaterKosterTables:
    """Two-centre integrals of all ordered pairs of elements.

    Parameters
    ----------
    atomic_numbers
        Elements, shape (n,).
    on_site_ev
        Energies of s, p, d of the free atom, shape (n, 3); NaN where an element lacks the shell.
    valence_electrons
        Electrons of the neutral atom in these shells, shape (n,).
    hubbard_u_ev
        Hardness of the frontier shell, shape (n,).
    distances_a
        Tabulated distances, shape (n_distances,).
    cutoffs_a
        Where the integrals of a pair end, shape (n, n).
    overlap, hamiltonian_ev
        Shape (n_distances, n, n, channels).
    """

    atomic_numbers: NDArray[np.int64]
    on_site_ev: NDArray[np.float64]
    valence_electrons: NDArray[np.int64]
    hubbard_u_ev: NDArray[np.float64]
    distances_a: NDArray[np.float64]
    cutoffs_a: NDArray[np.float64]
    overlap: NDArray[np.floating]
    hamiltonian_ev: NDArray[np.floating]
    _splines: dict[int, NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def has_shell(self) -> NDArray[np.bool_]:
        """Which shells an element has, shape (n, 3)."""
        return np.asarray(~np.isnan(self.on_site_ev))

    def element_indices(self, atomic_numbers: NDArray[np.integer]) -> NDArray[np.int64]:
        """Row of each atom in the tables.

        Raises
        ------
        ParametersError
            If an element is not tabulated.
        """
        rows = np.searchsorted(self.atomic_numbers, atomic_numbers)
        known = self.atomic_numbers[np.minimum(rows, len(self.atomic_numbers) - 1)] == atomic_numbers
        if not known.all():
            missing = sorted({int(number) for number in np.asarray(atomic_numbers)[~known]})
            raise ParametersError(
                f"There are no tight-binding parameters for atomic number {', '.join(map(str, missing))}; "
                "the tables hold H to Rn and Ra to U."
            )
        return rows.astype(np.int64)

    def integrals(
        self, first: NDArray[np.int64], second: NDArray[np.int64], distances_a: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Overlap and Hamiltonian integrals of pairs of rows at distances, each (n_pairs, channels)."""
        pairs, inverse = np.unique(first * len(self.atomic_numbers) + second, return_inverse=True)
        coefficients = self._splines_of(pairs)
        grid = self.distances_a
        inside = np.clip(distances_a, grid[0], grid[-1])
        interval = np.clip(np.searchsorted(grid, inside, side="right") - 1, 0, len(grid) - 2)
        x = (inside - grid[interval])[:, None]
        c3, c2, c1, c0 = np.moveaxis(coefficients[inverse, :, interval], 1, 0)
        values = ((c3 * x + c2) * x + c1) * x + c0
        values *= cutoff_function(distances_a, self.cutoffs_a[first, second])[:, None]
        return values[:, :N_CHANNELS], values[:, N_CHANNELS:]

    def _splines_of(self, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
        """Coefficients of pairs, first x number of elements + second, shape (n_pairs, 4, n_distances - 1, 2 x channels)."""
        missing = [int(pair) for pair in pairs if int(pair) not in self._splines]
        if missing:
            ends = np.divmod(missing, len(self.atomic_numbers))
            values = np.concatenate([self.overlap[:, *ends], self.hamiltonian_ev[:, *ends]], axis=2)
            made = CubicSpline(self.distances_a, values.astype(np.float64)).c
            self._splines.update(zip(missing, np.moveaxis(made, 2, 0), strict=True))
        return np.stack([self._splines[int(pair)] for pair in pairs])


def cutoff_function(distances_a: NDArray[np.float64], cutoffs_a: NDArray[np.float64]) -> NDArray[np.float64]:
    """One up to `CUT_WIDTH_A` before the cut-off, zero from there on, with two continuous derivatives."""
    x = np.clip((distances_a - cutoffs_a + CUT_WIDTH_A) / CUT_WIDTH_A, 0, 1)
    return 1 - x**3 * (10 - 15 * x + 6 * x * x)


def save_tables(path: Path, tables: SlaterKosterTables) -> None:
    """Write tables packed: half precision, channels that are the same from either end for one order only."""
    first, second = np.triu_indices(len(tables.atomic_numbers))
    packed = {"version": np.array(FORMAT_VERSION)}
    for name in _SMALL_ARRAYS:
        packed[name] = getattr(tables, name)
    for name in ("overlap", "hamiltonian_ev"):
        values = getattr(tables, name).astype(np.float16)
        packed[f"{name}_symmetric"] = values[:, first, second][:, :, SYMMETRIC_CHANNELS]
        packed[f"{name}_directed"] = values[..., DIRECTED_CHANNELS]
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **packed)  # type: ignore[arg-type]


@cache
def load_tables(path: Path = PARAMETERS_FILE) -> SlaterKosterTables:
    """Read tables written by `save_tables`; they are cached in memory.

    Raises
    ------
    ParametersError
        If the file is missing or of another version.
    """
    if not path.is_file():
        raise ParametersError(f"There are no tight-binding parameters {path}; make them with {_MAKE}.")
    with np.load(path) as packed:
        if int(packed["version"]) != FORMAT_VERSION:
            raise ParametersError(
                f"The tight-binding parameters {path} have format version {packed['version']}, but this program reads "
                f"{FORMAT_VERSION}; make them again with {_MAKE}."
            )
        small: dict[str, Any] = {name: packed[name] for name in _SMALL_ARRAYS}
        large: dict[str, Any] = {
            name: _unpack(packed, name, len(small["atomic_numbers"])) for name in ("overlap", "hamiltonian_ev")
        }
    return SlaterKosterTables(**small, **large)


@cache
def tables_hash(path: Path = PARAMETERS_FILE) -> str:
    """Identity of a file of tables, 16 hexadecimal digits: learned corrections belong to one."""
    return file_sha256(path)[:16]


def _unpack(packed: Mapping[str, NDArray], name: str, n_elements: int) -> NDArray[np.float32]:
    symmetric, directed = packed[f"{name}_symmetric"], packed[f"{name}_directed"]
    values = np.zeros((len(directed), n_elements, n_elements, N_CHANNELS), dtype=np.float32)
    first, second = np.triu_indices(n_elements)
    channels = list(SYMMETRIC_CHANNELS)
    values[:, first[:, None], second[:, None], channels] = symmetric
    values[:, second[:, None], first[:, None], channels] = symmetric
    values[..., DIRECTED_CHANNELS] = directed
    return values
