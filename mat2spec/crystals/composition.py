"""Elements and formulas of crystals: the only place where formulas are made."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pymatgen.core import Composition, Element

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.columns import atomic_numbers_of_lists

MAX_KNOWN_ATOMIC_NUMBER = 118
# Atomic number 0 collects everything that is not an element, so that a bad number does no harm.
N_COLUMNS = MAX_KNOWN_ATOMIC_NUMBER + 1
UNKNOWN_ELEMENT = "X"


@dataclass(frozen=True)
class ElementCounts:
    """Number of atoms of each element in each crystal.

    Parameters
    ----------
    crystal, atomic_number, count
        The entries that are not zero, sorted by crystal: shape (n_entries,) each. Atomic number 0
        represents numbers that are not elements.
    n_sites
        Sites of each crystal, shape (n_crystals,).
    """

    crystal: NDArray[np.int64]
    atomic_number: NDArray[np.int64]
    count: NDArray[np.int64]
    n_sites: NDArray[np.int64]

    @classmethod
    def from_crystals(cls, crystals: Crystals) -> ElementCounts:
        """Count the elements of crystals."""
        return cls._of_parts([(crystals.n_sites, crystals.atomic_numbers)])

    @classmethod
    def from_lists(cls, columns: Iterable[pa.Array]) -> ElementCounts:
        """Count the elements in columns of lists of atomic numbers or symbols; a null list has no sites."""
        read = (atomic_numbers_of_lists(column) for column in columns)
        return cls._of_parts((lists.lengths, lists.values.astype(np.int64)) for lists in read)

    @classmethod
    def _of_parts(cls, parts: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> ElementCounts:
        """Counts of pairs of sites per crystal and atomic numbers of all sites."""
        entries, sites, offset = [], [], 0
        for n_sites, numbers in parts:
            known = np.where((numbers >= 1) & (numbers <= MAX_KNOWN_ATOMIC_NUMBER), numbers, 0)
            keys = (np.repeat(np.arange(len(n_sites)), n_sites) + offset) * N_COLUMNS + known
            entries.append(np.stack(np.unique(keys, return_counts=True)))
            sites.append(n_sites)
            offset += len(n_sites)
        keys, counts = np.concatenate([np.empty((2, 0), dtype=np.int64), *entries], axis=1)
        crystal, atomic_number = np.divmod(keys, N_COLUMNS)
        return cls(crystal, atomic_number, counts, np.concatenate([np.empty(0, dtype=np.int64), *sites]))

    @property
    def n_elements(self) -> NDArray[np.int64]:
        """Number of different elements of each crystal, shape (n_crystals,)."""
        return np.bincount(self.crystal, minlength=len(self.n_sites))

    def elements(self) -> list[list[str]]:
        """Symbols of the elements of each crystal, in order of their atomic numbers."""
        names = np.array(symbols(), dtype=object)[self.atomic_number].tolist()
        bounds = np.searchsorted(self.crystal, np.arange(len(self.n_sites) + 1)).tolist()
        return [names[a:b] for a, b in pairwise(bounds)]

    def chemical_systems(self) -> list[str]:
        """Elements of each crystal in alphabetical order, as in "O-Sr-V"; empty if there are no sites."""
        return ["-".join(sorted(names)) for names in self.elements()]

    def reduced_formulas(self, rows: Sequence[int] | None = None) -> list[str]:
        """Reduced formulas of all crystals, or of those at `rows`; empty if there are no sites."""
        numbers, counts = self.atomic_number.tolist(), self.count.tolist()
        bounds = np.searchsorted(self.crystal, np.arange(len(self.n_sites) + 1)).tolist()
        return [
            _formula_of(tuple(numbers[bounds[row] : bounds[row + 1]]), tuple(counts[bounds[row] : bounds[row + 1]]))
            for row in (range(len(self.n_sites)) if rows is None else rows)
        ]


@lru_cache(maxsize=2**16)
def _formula_of(numbers: tuple[int, ...], counts: tuple[int, ...]) -> str:
    """Reduced formula of so many atoms of these elements, which stands for many crystals and is asked for twice in a screen."""
    known = {symbols()[number]: count for number, count in zip(numbers, counts, strict=True) if number}
    return (reduced_formula(known) if known else "") + (UNKNOWN_ELEMENT if len(known) < len(numbers) else "")


@cache
def symbols() -> tuple[str, ...]:
    """Symbols by atomic number; number 0 is `UNKNOWN_ELEMENT`."""
    return (UNKNOWN_ELEMENT, *(Element.from_Z(z).symbol for z in range(1, MAX_KNOWN_ATOMIC_NUMBER + 1)))


def reduced_formulas(crystals: Crystals) -> NDArray[np.object_]:
    """Reduced formula of each crystal, shape (n,)."""
    return np.array(ElementCounts.from_crystals(crystals).reduced_formulas(), dtype=object)


def reduced_formula(composition: str | Mapping[str, float]) -> str:
    """Reduced formula as pymatgen writes it, with the elements in order of electronegativity.

    Raises
    ------
    ValueError
        If the text is not a formula.

    Examples
    --------
    >>> reduced_formula({"O": 6, "Sr": 2, "V": 2})
    'SrVO3'
    """
    with warnings.catch_warnings():
        # pymatgen warns that noble gases have no electronegativity.
        warnings.simplefilter("ignore", UserWarning)
        return Composition(composition).reduced_formula


def canonical_formula(text: str) -> str | None:
    """Reduced formula as pymatgen writes it; None if the text is not a formula.

    Examples
    --------
    >>> canonical_formula("O6Sr2V2"), canonical_formula("mp-149")
    ('SrVO3', None)
    """
    try:
        return reduced_formula(text) or None
    except (ValueError, KeyError):
        return None
