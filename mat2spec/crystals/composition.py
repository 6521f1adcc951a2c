"""Elements and formulas of many crystals at once, from their atomic numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

MAX_KNOWN_ATOMIC_NUMBER = 118
# Column 0 of the count matrix gathers what is no element, so that a bad number stops nothing.
N_COLUMNS = MAX_KNOWN_ATOMIC_NUMBER + 1
UNKNOWN_ELEMENT = "X"


@dataclass(frozen=True)
class Composition:
    """How many atoms of each element each crystal has.

    Parameters
    ----------
    crystal, atomic_number, count
        The entries that are not zero, sorted by crystal: shape (n_entries,) each. An atomic number
        of 0 stands for one that is no element.
    n_sites
        Sites of each crystal, shape (n_crystals,).
    """

    crystal: NDArray[np.int64]
    atomic_number: NDArray[np.int64]
    count: NDArray[np.int64]
    n_sites: NDArray[np.int64]

    @property
    def n_elements(self) -> NDArray[np.int64]:
        """Number of different elements of each crystal, shape (n_crystals,)."""
        return np.bincount(self.crystal, minlength=len(self.n_sites))

    def entries(self, row: int) -> dict[str, int]:
        """Atoms of each element in one crystal."""
        first, last = np.searchsorted(self.crystal, [row, row + 1])
        numbers, counts = self.atomic_number[first:last].tolist(), self.count[first:last].tolist()
        return {symbols()[number]: count for number, count in zip(numbers, counts, strict=True)}

    def chemical_systems(self) -> list[str]:
        """Elements of each crystal in alphabetical order, as in "O-Sr-V"; empty without sites."""
        names = np.array(symbols(), dtype=object)[self.atomic_number].tolist()
        bounds = np.searchsorted(self.crystal, np.arange(len(self.n_sites) + 1)).tolist()
        return ["-".join(sorted(names[a:b])) for a, b in pairwise(bounds)]


@cache
def symbols() -> tuple[str, ...]:
    """Symbols by atomic number; number 0 is `UNKNOWN_ELEMENT`."""
    from pymatgen.core.periodic_table import Element

    return (UNKNOWN_ELEMENT, *(Element.from_Z(z).symbol for z in range(1, MAX_KNOWN_ATOMIC_NUMBER + 1)))


def compositions_of(lists: Iterable[pa.Array]) -> Composition:
    """Count elements in columns of lists of atomic numbers; a null list counts as no sites."""
    import pyarrow.compute as pc

    entries, sites, offset = [], [], 0
    for column in lists:
        n_sites = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        numbers = pc.fill_null(pc.list_flatten(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        numbers = np.where((numbers >= 1) & (numbers <= MAX_KNOWN_ATOMIC_NUMBER), numbers, 0)
        keys = (np.repeat(np.arange(len(n_sites)), n_sites) + offset) * N_COLUMNS + numbers
        entries.append(np.stack(np.unique(keys, return_counts=True)))
        sites.append(n_sites)
        offset += len(n_sites)
    keys, counts = np.concatenate([np.empty((2, 0), dtype=np.int64), *entries], axis=1)
    crystal, atomic_number = np.divmod(keys, N_COLUMNS)
    return Composition(crystal, atomic_number, counts, np.concatenate([np.empty(0, dtype=np.int64), *sites]))


def reduced_formulas(composition: Composition, rows: Sequence[int]) -> list[str]:
    """Reduced formulas of the crystals at `rows`; empty without sites."""
    from pymatgen.core.composition import Composition as PymatgenComposition

    formulas = []
    for row in rows:
        entries = composition.entries(row)
        known = {symbol: count for symbol, count in entries.items() if symbol != UNKNOWN_ELEMENT}
        formula = PymatgenComposition(known).reduced_formula if known else ""
        formulas.append(formula + (UNKNOWN_ELEMENT if len(known) < len(entries) else ""))
    return formulas
