"""Filters that turn a source's materials into the candidates of a screen, and count what each removes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mat2spec.tables.columns import Column
from screening.settings import FilterSettings, Unknown


class _Filter(NamedTuple):
    """One filter: which rows pass, and in which the value is unknown."""

    name: str
    passes: Callable[[pd.DataFrame], NDArray[np.bool_]]
    column: Column | None = None
    unknown: Unknown = "drop"


def filter_candidates(
    properties: pd.DataFrame,
    settings: FilterSettings | None = None,
    known_edos_ids: Collection[str] = frozenset(),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the materials that pass every filter.

    Parameters
    ----------
    properties
        The materials of a source, one row each: `CrystalSource.properties`.
    settings
        Limits; the defaults if not given.
    known_edos_ids
        Materials that have an eDOS already and need no prediction.

    Returns
    -------
    candidates : pandas.DataFrame
        The rows that pass, in the order of the source.
    counts : pandas.DataFrame
        One row per filter in the order applied: how many it removed (and how many of these with an
        unknown value), how many it kept despite an unknown value, and how many remain. The first row
        counts the source itself.
    """
    counts = [("source", 0, 0, 0, len(properties))]
    candidates = properties
    for step in _apply(properties, settings or FilterSettings(), known_edos_ids):
        candidates = step.rows if step.kept.all() else step.rows[step.kept]
        n_unknown, removed = int(step.unknown.sum()), int((~step.kept).sum())
        dropped, held = (n_unknown, 0) if step.filter.unknown == "drop" else (0, n_unknown)
        counts.append((step.filter.name, removed, dropped, held, len(candidates)))
    return candidates.reset_index(drop=True), _counts_table(counts)


def removed_materials(
    properties: pd.DataFrame,
    settings: FilterSettings | None = None,
    known_edos_ids: Collection[str] = frozenset(),
) -> pd.DataFrame:
    """The materials that `filter_candidates` leaves out, each with the filter that removed it.

    Returns
    -------
    pandas.DataFrame
        The columns of `properties`, `filter`, and `value_unknown`: whether the filter removed it because its value is
        not known. In the order of the filters, then of the source.
    """
    pieces = [_marked(properties[:0], "", np.zeros(0, dtype=np.bool_))]
    for step in _apply(properties, settings or FilterSettings(), known_edos_ids):
        gone = step.rows[~step.kept]
        if len(gone):
            pieces.append(_marked(gone, step.filter.name, step.unknown[~step.kept]))
    return pd.concat(pieces[1:] or pieces, ignore_index=True)


def _marked(rows: pd.DataFrame, name: str, unknown: NDArray[np.bool_]) -> pd.DataFrame:
    marks: dict[str, Any] = {Column.FILTER: name, Column.VALUE_UNKNOWN: unknown}
    return rows.assign(**marks)


class _Step(NamedTuple):
    """One filter applied: the rows that reach it, which of them it keeps, and where the value is unknown."""

    filter: _Filter
    rows: pd.DataFrame
    kept: NDArray[np.bool_]
    unknown: NDArray[np.bool_]


def _apply(properties: pd.DataFrame, settings: FilterSettings, known_edos_ids: Collection[str]) -> Iterator[_Step]:
    rows = properties
    for one in _filters(rows, settings, known_edos_ids):
        passes, unknown = _judge(one, rows)
        kept = passes & ~unknown if one.unknown == "drop" else passes | unknown
        yield _Step(one, rows, kept, unknown)
        rows = rows if kept.all() else rows[kept]


def _judge(one: _Filter, candidates: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    if one.column is None:
        return one.passes(candidates), np.zeros(len(candidates), dtype=np.bool_)
    return one.passes(candidates), candidates[one.column].isna().to_numpy(dtype=np.bool_)


def _counts_table(counts: list[tuple[str, int, int, int, int]]) -> pd.DataFrame:
    columns = [Column.FILTER, Column.REMOVED, Column.UNKNOWN_REMOVED, Column.UNKNOWN_KEPT, Column.REMAINING]
    return pd.DataFrame(counts, columns=[str(column) for column in columns])


def _filters(properties: pd.DataFrame, settings: FilterSettings, known_edos_ids: Collection[str]) -> list[_Filter]:
    known = set(known_edos_ids)
    # Only files hold what cannot be read at all; the reason goes with the row.
    readable = _Filter("readable", lambda rows: (rows[Column.REASON] == "").to_numpy(dtype=np.bool_))
    return [
        *([readable] if Column.REASON in properties else []),
        _Filter("without a known eDOS", lambda rows: ~rows[Column.MATERIAL_ID].isin(known).to_numpy(dtype=np.bool_)),
        _Filter(
            "energy above hull",
            lambda rows: _between(rows, Column.ENERGY_ABOVE_HULL, None, settings.energy_above_hull_max_ev_per_atom),
            Column.ENERGY_ABOVE_HULL,
            settings.unknown_energy_above_hull,
        ),
        _Filter(
            "number of elements",
            lambda rows: _between(rows, Column.NELEMENTS, settings.n_elements_min, settings.n_elements_max),
        ),
        _Filter(
            "band gap",
            lambda rows: _between(rows, Column.BAND_GAP, settings.band_gap_min_ev, settings.band_gap_max_ev),
            Column.BAND_GAP,
            settings.unknown_band_gap,
        ),
        _Filter("number of sites", lambda rows: _between(rows, Column.NSITES, None, settings.n_sites_max)),
        _Filter("elements allowed", lambda rows: _has_allowed_elements(rows, settings)),
    ]


def _between(rows: pd.DataFrame, column: Column, low: float | None, high: float | None) -> NDArray[np.bool_]:
    """Rows within inclusive limits; unknown values are outside."""
    values = rows[column].to_numpy(dtype=np.float64, na_value=np.nan)
    passes = np.ones(len(values), dtype=np.bool_)
    # A limit of 0.1 must keep a value that was stored as the 32-bit number nearest to 0.1.
    tolerance = np.finfo(np.float32).eps
    if low is not None:
        passes &= values >= low - tolerance * abs(low)
    if high is not None:
        passes &= values <= high + tolerance * abs(high)
    return passes


def _has_allowed_elements(rows: pd.DataFrame, settings: FilterSettings) -> NDArray[np.bool_]:
    """Judge each chemical system once, however many materials share it."""
    allowed = None if settings.allowed_elements is None else set(settings.allowed_elements)
    excluded = set(settings.excluded_elements)
    if allowed is None and not excluded:
        return np.ones(len(rows), dtype=np.bool_)
    codes, systems = pd.factorize(rows[Column.CHEMSYS])
    verdicts = [
        (allowed is None or elements <= allowed) and not elements & excluded
        for elements in (set(str(system).split("-")) for system in systems)
    ]
    # Code -1 (no chemical system known) takes the last place.
    return np.array([*verdicts, False], dtype=np.bool_)[codes]
