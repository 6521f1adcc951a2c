"""What every source of crystals offers.

A source gives the properties of all its materials without coordinates, and the crystals of selected
materials, so a screen of hundreds of thousands holds only a shard of coordinates in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import ElementCounts
from mat2spec.tables.columns import Column

# Metadata of a table: the database it comes from, and what was filtered before it was written.
DB_VERSION_KEY = "db_version"


FILTER_COUNTS_KEY = "filter_counts"


class SourceError(ValueError):
    """A source cannot be used; the message says what is wrong with it and what to do."""


class CrystalSource(Protocol):
    """What a screen needs to know of a collection of crystals."""

    @property
    def name(self) -> str:
        """Short name for reports."""

    def fingerprint(self) -> str:
        """SHA-256 of the content; equal for equal crystals."""

    def db_version(self) -> str:
        """Version of the database behind the source."""

    def known_edos_ids(self) -> frozenset[str]:
        """Materials with an eDOS according to the source itself."""

    def earlier_filters(self) -> pd.DataFrame | None:
        """Counts of filters applied before the source was made, as in `screening.choose.filters.filter_candidates`, or None."""

    def properties(self) -> pd.DataFrame:
        """All materials without coordinates.

        Columns `material_id`, `formula`, `chemsys`, `nsites`, `nelements`, `band_gap` (eV) and
        `energy_above_hull` (eV/atom); the last two are NaN where unknown.
        """

    def crystals(self, material_ids: Sequence[str]) -> Crystals:
        """The crystals of the given materials, in that order."""


def properties_of(crystals: Crystals) -> pd.DataFrame:
    """`CrystalSource.properties` of crystals of which only the coordinates are known."""
    composition = ElementCounts.from_crystals(crystals)
    unknown = np.full(len(crystals), np.nan)
    return pd.DataFrame(
        {
            Column.MATERIAL_ID: crystals.material_ids,
            Column.FORMULA: composition.reduced_formulas(),
            Column.CHEMSYS: composition.chemical_systems(),
            Column.NSITES: crystals.n_sites,
            Column.NELEMENTS: composition.n_elements,
            Column.BAND_GAP: unknown,
            Column.ENERGY_ABOVE_HULL: unknown,
        }
    )
