"""Queries of the Materials Project: the filters of a screen as parameters of its server."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mat2spec.tables.provenance import hash_json
from screening.settings import FilterSettings, MaterialsProjectSettings

GNOME_BATCH = "gnome_r2scan_statics"
# Increased when cached tables must be read again: other fields, other columns.
TABLE_VERSION = 1
# `has_props` claims that there is an eDOS; its summary, or the identifier of its calculation, proves it.
PROPERTY_FIELDS = (
    "material_id",
    "formula_pretty",
    "composition",
    "nsites",
    "energy_above_hull",
    "band_gap",
    "has_props",
    "dos.task_id",
    "dos.total",
    "builder_meta.license",
    "last_updated",
    "deprecated",
)
STRUCTURE_FIELD = "structure"
INITIAL_STRUCTURES_FIELD = "initial_structures"
SCAN_FIELDS = ("material_id", "energy_above_hull", "band_gap")
# Below every possible value of a property: `field >= LOWEST` selects documents whose value is known.
LOWEST = -1e9


@dataclass(frozen=True)
class Limit:
    """An inclusive range of one property, applied by the server.

    Parameters
    ----------
    name
        Name of the filter in the counts.
    argument, parameter
        Names of the property in mp-api's `search` and at the server.
    low, high
        The range; None means no limit.
    keep_unknown
        Whether documents without a value pass; None if every document has one.
    """

    name: str
    argument: str
    parameter: str
    low: float | None
    high: float | None
    keep_unknown: bool | None = None

    @property
    def is_open(self) -> bool:
        """Whether it lets everything through."""
        return self.low is None and self.high is None

    def criteria(self) -> dict[str, float]:
        """The range as parameters of the server."""
        ends = {f"{self.parameter}_min": self.low, f"{self.parameter}_max": self.high}
        return {name: value for name, value in ends.items() if value is not None}

    def known(self) -> dict[str, float]:
        """A condition met by every document with a value, as parameters of the server."""
        return {f"{self.parameter}_min": LOWEST}

    def passes(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which values lie in the range, shape (n,); NaN does not."""
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return np.asarray((values >= low) & (values <= high))


@dataclass(frozen=True)
class Query:
    """A query of the Materials Project.

    Parameters
    ----------
    limits
        Ranges that the server applies.
    include_gnome
        Whether GNoME's crystals are wanted.
    cells
        "relaxed" or "initial".
    n_materials
        Maximum number to read; None reads all.
    """

    limits: tuple[Limit, ...]
    include_gnome: bool = False
    cells: str = "relaxed"
    n_materials: int | None = None

    @classmethod
    def of_settings(
        cls, filters: FilterSettings, settings: MaterialsProjectSettings, n_materials: int | None = None
    ) -> Query:
        """Leave to the server what it can filter; elements and all else are filtered here."""
        return cls(
            limits=tuple(limit for limit in _limits(filters) if not limit.is_open),
            include_gnome=settings.mp_include_gnome,
            cells=settings.mp_cells,
            n_materials=n_materials,
        )

    @property
    def fields(self) -> list[str]:
        """Fields of a summary document that are needed."""
        return [*PROPERTY_FIELDS, *([STRUCTURE_FIELD] if self.cells == "relaxed" else [])]

    @property
    def firm_limits(self) -> tuple[Limit, ...]:
        """Limits that documents without the value do not pass."""
        return tuple(limit for limit in self.limits if not limit.keep_unknown)

    @property
    def optional_limits(self) -> tuple[Limit, ...]:
        """Limits that documents without the value pass; the server would leave them out."""
        return tuple(limit for limit in self.limits if limit.keep_unknown)

    def without_optional_limits(self) -> Query:
        """The query that documents with unknown values pass."""
        return Query(self.firm_limits, self.include_gnome)

    def arguments(self) -> dict[str, Any]:
        """Arguments of mp-api's `SummaryRester.search`."""
        ranges = {limit.argument: (limit.low, limit.high) for limit in self.limits}
        return {**ranges, "deprecated": False, "include_gnome": self.include_gnome}

    def criteria(self) -> dict[str, Any]:
        """Parameters of the server, for `SummaryRester.count`."""
        criteria: dict[str, Any] = {"deprecated": False}
        if not self.include_gnome:
            criteria["batch_id_not_eq"] = GNOME_BATCH
        for limit in self.limits:
            criteria |= limit.criteria()
        return criteria

    def describe(self) -> dict[str, Any]:
        """All that determines the answer, as JSON values."""
        return {**asdict(self), "fields": self.fields, "table_version": TABLE_VERSION}

    def fingerprint(self, endpoint: str) -> str:
        """SHA-256 of the query and the server's address."""
        return hash_json({**self.describe(), "endpoint": endpoint})


def _limits(filters: FilterSettings) -> list[Limit]:
    return [
        Limit(
            "energy above hull",
            "energy_above_hull",
            "energy_above_hull",
            None,
            _just_above(filters.energy_above_hull_max_ev_per_atom),
            keep_unknown=filters.unknown_energy_above_hull == "keep",
        ),
        Limit("number of elements", "num_elements", "nelements", filters.n_elements_min, filters.n_elements_max),
        Limit(
            "band gap",
            "band_gap",
            "band_gap",
            _just_below(filters.band_gap_min_ev or None),
            _just_above(filters.band_gap_max_ev),
            keep_unknown=filters.unknown_band_gap == "keep",
        ),
        Limit("number of sites", "num_sites", "nsites", None, filters.n_sites_max),
    ]


def _just_above(limit: float | None) -> float | None:
    """The limit with the tolerance that `screening.choose.filters` gives it: 0.1 as a 32-bit number is a bit more than 0.1."""
    return None if limit is None else limit * (1 + float(np.finfo(np.float32).eps))


def _just_below(limit: float | None) -> float | None:
    return None if limit is None else limit * (1 - float(np.finfo(np.float32).eps))
