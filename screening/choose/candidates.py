"""The candidates of a screen: the materials of a source that pass the filters, with coordinates and what is new."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.identity import rounded_structure_hashes
from mat2spec.crystals.material_ids import named_by
from mat2spec.crystals.primitive import CellSizes
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import ROWS_PER_GROUP
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
    source
        Where they come from.
    has_problems
        Whether some of them could not be read.
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
    source: CrystalSource
    has_problems: bool
    counts: pd.DataFrame
    removed: pd.DataFrame
    changes: pd.DataFrame
    known_edos: pd.DataFrame

    def crystals(self) -> Iterator[pa.Table]:
        """The candidates with their coordinates, in the same order, piece by piece."""
        for part in crystals_in_pieces(self.source, self.table[Column.MATERIAL_ID]):
            piece = part.to_arrow()
            if self.has_problems and part.problems is None:
                piece = piece.append_column(str(Column.REASON), pa.nulls(len(part), pa.string()))
            yield piece


def crystals_in_pieces(source: CrystalSource, material_ids: pd.Series) -> Iterator[Crystals]:
    """The crystals of a source, in the given order, some thousand at a time, at least once."""
    for start in range(0, max(len(material_ids), 1), ROWS_PER_GROUP):
        yield source.crystals(material_ids.iloc[start : start + ROWS_PER_GROUP].tolist())


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
    known_of_crystals, has_problems = _of_coordinates(source, table[Column.MATERIAL_ID])
    table = pd.concat([table, known_of_crystals], axis=1)
    table[Column.GAPPED_POLYMORPH] = gapped_polymorphs(table[Column.FORMULA], properties)
    changes = find_changes(table, known, previous)
    if only_new:
        screened = previous.has_screened(table)
        removed = _with_screened_before(removed, table[screened])
        table, counts = keep_unscreened(table, counts, previous)
    known_edos = pd.DataFrame({Column.MATERIAL_ID: pd.Series(sorted(known), dtype=object)})
    return Candidates(table, source, has_problems, counts, removed, changes, known_edos)


def _of_coordinates(source: CrystalSource, material_ids: pd.Series) -> tuple[pd.DataFrame, bool]:
    """Sizes of the primitive cells, volumes and hashes of crystals, and whether some of them could not be read."""
    pieces, has_problems = [], False
    for crystals in crystals_in_pieces(source, material_ids):
        has_problems |= crystals.problems is not None
        hashes = pa.array(rounded_structure_hashes(crystals), pa.string())
        pieces.append(pa.table({**CellSizes.of_crystals(crystals).columns(), Column.STRUCTURE_HASH: hashes}))
    return pa.concat_tables(pieces).to_pandas(), has_problems


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
