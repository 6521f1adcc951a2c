"""What a classifier may use besides the spectrum of a material: cell sizes and elements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.primitive import CellSizes
from mat2spec.tables.columns import Column
from screening.classify.false_metals import FalseMetalFacts

# Stoner parameters in eV for a density of states of one spin: 0.7 to 1 eV in the 3d series, rising towards Ni, and less
# below (Fazekas, Lecture Notes on Electron Correlation and Magnetism, World Scientific 1999, ch. 7). With densities of
# states of LSDA they give 1.4 for Fe, 1.8 for Ni, 0.8 for V and 0.75 for Pd.
STONER_EV = {**dict.fromkeys(range(23, 29), 0.9), **dict.fromkeys(range(44, 47), 0.65)}


@dataclass(frozen=True)
class Materials:
    """Data of many materials, in the order of their spectra.

    Parameters
    ----------
    sizes
        Sizes of their cells.
    stoner_ev
        Output of `stoner_factors`, shape (n,).
    facts
        What else says whether a metal may be a false one; None where it is not known.
    """

    sizes: CellSizes
    stoner_ev: NDArray[np.float64]
    facts: FalseMetalFacts | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    @classmethod
    def of_crystals(cls, crystals: Crystals) -> Materials:
        """Data of crystals."""
        return cls.of_elements(CellSizes.of_crystals(crystals), ElementCounts.from_crystals(crystals))

    @classmethod
    def of_rows(cls, rows: pd.DataFrame, elements: ElementCounts) -> Materials:
        """Data from a table with the sizes (`CellSizes.of_rows`), and the elements of the same materials."""
        known = Column.GAPPED_POLYMORPH in rows
        polymorphs = rows[Column.GAPPED_POLYMORPH].fillna("").to_numpy(dtype=object) if known else None
        return cls.of_elements(CellSizes.of_rows(rows), elements, polymorphs)

    @classmethod
    def of_elements(
        cls, sizes: CellSizes, elements: ElementCounts, polymorphs: NDArray[np.object_] | None = None
    ) -> Materials:
        """Data from sizes, elements of a cell or formula unit, and polymorphs with a gap."""
        facts = FalseMetalFacts.of(elements, sizes.n_primitive, polymorphs)
        return cls(sizes, stoner_factors(elements), facts)

    def take(self, indices: NDArray[np.integer]) -> Materials:
        """The materials at `indices`, in that order."""
        sizes = self.sizes
        taken = CellSizes(sizes.n_sites[indices], sizes.n_primitive[indices], sizes.volumes[indices])
        return Materials(taken, self.stoner_ev[indices], None if self.facts is None else self.facts.take(indices))


def stoner_factors(elements: ElementCounts) -> NDArray[np.float64]:
    """Half the mean Stoner parameter of the atoms of `STONER_EV` over their share of all atoms, in eV, shape (n,).

    Multiplied by the density of states per atom, both spins, it gives the Stoner product under the assumption that all
    states belong to these atoms. NaN where there are none.
    """
    exchange = np.zeros(max(STONER_EV) + 1)
    exchange[list(STONER_EV)] = list(STONER_EV.values())
    own = np.where(
        elements.atomic_number < len(exchange), exchange[np.minimum(elements.atomic_number, len(exchange) - 1)], 0
    )
    size = len(elements.n_sites)
    n_atoms = np.bincount(elements.crystal, elements.count * (own > 0), size)
    total = np.bincount(elements.crystal, elements.count * own, size)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(n_atoms > 0, total / n_atoms * elements.n_sites / n_atoms / 2, np.nan)
