"""The candidates of a screen: the materials of a source that pass the filters, with coordinates and what is new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.identity import rounded_structure_hashes
from mat2spec.crystals.material_ids import named_by
from mat2spec.crystals.primitive import CellSizes
from mat2spec.tables.columns import Column
from screening.choose.filters import FilterSettings, filter_candidates, removed_materials
from screening.classify.false_metals import gapped_polymorphs
from screening.runs.history import SCREENED_BEFORE, PreviousRuns, find_changes, keep_unscreened
from screening.settings import SourceSettings
from screening.sources.base import CrystalSource
from screening.sources.known_edos import known_edos_ids
from screening.sources.open_data.published import with_edos_now


class NoCandidatesError(ValueError):
    """Nothing is left to predict."""


@dataclass(frozen=True)
class Candidates:
    """What is screened, and how it was chosen.

    Parameters
    ----------
    table
        One row per candidate: `CrystalSource.properties`, `nsites_primitive`, `volume` and `structure_hash`.
    crystals
        The candidates with their coordinates, in the same order.
    counts
        What each filter removed.
    removed
        The materials that they removed: `screening.choose.filters.removed_materials`.
    changes
        What is new since previous runs: `screening.runs.history.find_changes`.
    known_edos
        Materials of the source that have an eDOS already.
    """

    table: pd.DataFrame
    crystals: Crystals
    counts: pd.DataFrame
    removed: pd.DataFrame
    changes: pd.DataFrame
    known_edos: pd.DataFrame


def choose_candidates(
    source: CrystalSource,
    source_settings: SourceSettings,
    filters: FilterSettings,
    previous: PreviousRuns,
    *,
    only_new: bool = False,
) -> Candidates:
    """Candidates of a source, all of them or only those that no previous run screened.

    Parameters
    ----------
    source, source_settings
        Where the crystals come from, and where to ask which of them have an eDOS.
    filters
        Which become candidates.
    previous
        Runs to compare with.
    only_new
        Leave out what they screened.

    Raises
    ------
    NoCandidatesError
        If no material passes the filters, and not because all were screened before.
    """
    properties = source.properties()
    in_store = named_by(known_edos_ids(source_settings.store_of_known_edos), properties[Column.MATERIAL_ID])
    # Along with its eDOS a material may have got new values, and the filters applied by the server now drop it.
    published = source.known_edos_ids() | with_edos_now(source_settings, previous.gone_from(properties))
    known = in_store | published
    table, counts = filter_candidates(properties, filters, known)
    table = table.drop(columns=[Column.REASON], errors="ignore")
    removed = removed_materials(properties, filters, known)
    earlier = source.earlier_filters()
    if earlier is not None:
        # The first row counts the source itself, as did the last of the earlier filters.
        counts = pd.concat([earlier, counts.iloc[1:]], ignore_index=True)
    if table.empty and not only_new:
        raise NoCandidatesError(_no_candidates(counts))
    crystals = source.crystals(table[Column.MATERIAL_ID].tolist())
    table = table.assign(
        **CellSizes.of_crystals(crystals).columns(), **{Column.STRUCTURE_HASH: rounded_structure_hashes(crystals)}
    )
    table[Column.GAPPED_POLYMORPH] = gapped_polymorphs(table[Column.FORMULA], properties)
    changes = find_changes(table, known, previous)
    if only_new:
        screened = previous.has_screened(table)
        crystals = crystals.take((~screened).nonzero()[0])
        removed = _with_screened_before(removed, table[screened])
        table, counts = keep_unscreened(table, counts, previous)
    known_edos = pd.DataFrame({Column.MATERIAL_ID: pd.Series(sorted(known), dtype=object)})
    return Candidates(table, crystals, counts, removed, changes, known_edos)


def _with_screened_before(removed: pd.DataFrame, screened: pd.DataFrame) -> pd.DataFrame:
    """Add the materials that a previous run screened with the same structure."""
    if screened.empty:
        return removed
    marks: dict[str, Any] = {Column.FILTER: SCREENED_BEFORE, Column.VALUE_UNKNOWN: False}
    rows = screened.assign(**marks).reindex(columns=removed.columns)
    return pd.concat([removed, rows], ignore_index=True) if len(removed) else rows.reset_index(drop=True)


def _no_candidates(counts: pd.DataFrame) -> str:
    greediest = counts[Column.FILTER].iloc[int(counts[Column.REMOVED].argmax())]
    return (
        f"No material of the source passes the filters; the filter '{greediest}' removed the most. Relax it: "
        "`mat2spec settings` shows the filters, `mat2spec screen --dry-run` what each of them removes."
    )
