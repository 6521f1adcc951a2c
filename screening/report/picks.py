"""The table of picks: one row for every material that a model calls a hit or that was chosen for DFT."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive import CellSizes
from mat2spec.crystals.prototypes import UNKNOWN_SPACE_GROUP, space_group_number
from mat2spec.crystals.space_groups import short_symbol
from mat2spec.spectra.trust import Trust
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import is_true
from mat2spec.tables.status import Status
from screening.choose.selection import (
    BY_CONSENSUS,
    POSITIVE_PREFIX,
    RANDOM_NEGATIVE,
    RANDOM_POSITIVE,
    known_consensus,
    outside_of_all_models,
    rank_by_consensus,
    target_of,
)
from screening.settings import SelectionSettings

NOT_CHOSEN = "not_chosen"
NOT_COMPUTED = "not computed"
GAPPED_METAL = "gapped metal"
_MATERIAL_PAGE = "https://next-gen.materialsproject.org/materials/"
_FROM_CANDIDATES = (
    Column.FORMULA,
    Column.CHEMSYS,
    Column.NSITES,
    Column.NSITES_PRIMITIVE,
    Column.ENERGY_ABOVE_HULL,
    Column.BAND_GAP,
    Column.ORIGIN,
)
FROM_PREDICTIONS = (
    Column.PREDICTED_BY,
    Column.TRUST,
    Column.TRUST_REASON,
    Column.UNSEEN_ELEMENTS,
    Column.RELATIVE_ERROR,
    Column.DOMAIN_DISTANCE,
    Column.IMPLAUSIBILITY,
    Column.REASON,
)
_DFT_NUMBERS = {
    Column.GAP_TOP_EV: Column.DFT_GAP_TOP_EV,
    Column.GAP_BOTTOM_EV: Column.DFT_GAP_BOTTOM_EV,
    Column.GAP_WIDTH_EV: Column.DFT_GAP_WIDTH_EV,
}
# Columns that only a run with DFT can fill.
OF_DFT = (
    Column.CHOICE,
    Column.DFT_STATUS,
    Column.DFT_REASON,
    Column.DFT_VERDICT,
    Column.DFT_GAP_TOP_EV,
    Column.DFT_GAP_BOTTOM_EV,
    Column.DFT_GAP_WIDTH_EV,
    Column.DFT_GAP_OPEN_AT_BOTTOM,
)


def picks_table(
    candidates: pd.DataFrame,
    classifications: pd.DataFrame,
    predictions: pd.DataFrame,
    jobs: pd.DataFrame,
    results: pd.DataFrame | None,
    selection: SelectionSettings,
) -> pd.DataFrame:
    """One row per material that any model calls a hit or that was chosen for DFT.

    Parameters
    ----------
    candidates, classifications, jobs
        The tables `candidates`, `classifications` and `dft_jobs` of a run.
    predictions
        `material_id`, `model` and those of `FROM_PREDICTIONS` that are there.
    results
        The table `dft_results`; None where DFT was only queued.
    selection
        How materials were chosen, to say why one was not.

    Returns
    -------
    pandas.DataFrame
        In the order of `pick_rank`, given by `rank_by_consensus`; materials that no model calls a hit come last. Classes
        are those of `model`, the most confident one; all columns of `classifications` follow.
    """
    order = PickOrder.of(classifications, jobs)
    return picks_in(order, candidates, classifications, predictions, jobs, results, selection)


@dataclass(frozen=True)
class PickOrder:
    """The materials of a table of picks in its order, and what is known of all of them together.

    Parameters
    ----------
    ids
        Those that a model calls a hit, by rank, then others that were chosen for DFT.
    n_ranked
        How many of them are ranked.
    confidence
        Their consensus.
    flag
        `target_of` the classifications.
    first_rank
        Rank of the first of them.
    """

    ids: list[str]
    n_ranked: int
    confidence: Mapping[Any, float]
    flag: str
    first_rank: int = 1

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, classifications: pd.DataFrame, jobs: pd.DataFrame) -> PickOrder:
        """The order of the picks of a run; of the classifications `NEEDED_TO_SELECT` suffices."""
        ranked = rank_by_consensus(classifications)[Column.MATERIAL_ID].tolist()
        named = set(ranked)
        chosen = [name for name in jobs[Column.MATERIAL_ID] if name not in named]
        confidence = known_consensus(classifications).groupby(classifications[Column.MATERIAL_ID]).first()
        return cls(ranked + chosen, len(ranked), confidence.to_dict(), target_of(classifications))

    def part(self, start: int, stop: int) -> PickOrder:
        """Some of them."""
        ids, n_ranked = self.ids[start:stop], max(self.n_ranked - start, 0)
        return PickOrder(ids, min(n_ranked, len(ids)), self.confidence, self.flag, self.first_rank + start)


def picks_in(
    order: PickOrder,
    candidates: pd.DataFrame,
    classifications: pd.DataFrame,
    predictions: pd.DataFrame,
    jobs: pd.DataFrame,
    results: pd.DataFrame | None,
    selection: SelectionSettings,
) -> pd.DataFrame:
    """The rows of `picks_table` of some of its materials, or of all; the tables may hold others."""
    picks = _leading_rows(classifications, order.ids, order.flag)
    ranks = range(order.first_rank, order.first_rank + order.n_ranked)
    picks[Column.PICK_RANK] = pd.array([*ranks, *([None] * (len(order) - order.n_ranked))], dtype="Int64")
    picks = _with_models(picks, classifications, order)
    picks = picks.drop(columns=[Column.TRUST], errors="ignore").merge(
        _known(predictions, [Column.MODEL, *FROM_PREDICTIONS]), "left", [Column.MATERIAL_ID, Column.MODEL]
    )
    picks = picks.merge(_known(candidates, list(_FROM_CANDIDATES)), "left", Column.MATERIAL_ID)
    picks[Column.CHOICE] = _choices(picks, jobs, selection, outside_of_all_models(classifications, order.flag))
    picks = _with_dft(picks, jobs, results)
    picks[Column.LINK] = [_MATERIAL_PAGE + name if name.startswith("mp-") else "" for name in picks[Column.MATERIAL_ID]]
    flags = picks.select_dtypes("boolean").columns
    return picks.assign(**{str(name): picks[name].fillna(value=False).astype(bool) for name in flags})


def with_space_groups(picks: pd.DataFrame, crystals: Crystals) -> pd.DataFrame:
    """Add number and symbol of the space group of every pick; null where it cannot be found."""
    numbers = [space_group_number(crystals, index) for index in range(len(crystals))]
    found = [None if number == UNKNOWN_SPACE_GROUP else number for number in numbers]
    symbols = [None if number is None else short_symbol(number) for number in found]
    columns: dict[str, Any] = {
        Column.SPACE_GROUP: pd.array(found, dtype="Int64"),
        Column.SPACE_GROUP_SYMBOL: pd.Series(symbols, dtype=object, index=picks.index),
    }
    return picks.assign(**columns)


def with_numbers(picks: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Add the single numbers of a table with one row per material, such as `phonons`; null for picks that are not in it.

    Columns that picks have already, such as how plausible the crystal is, stay as they are.
    """
    numbers = found.select_dtypes("float").columns.difference(picks.columns, sort=False)
    return picks.merge(found[[str(Column.MATERIAL_ID), *numbers]], "left", Column.MATERIAL_ID)


def _leading_rows(classifications: pd.DataFrame, ids: list[str], flag: str) -> pd.DataFrame:
    """The row of the most confident model for each material: among those that call it a hit, if any does."""
    rows = classifications[classifications[Column.MATERIAL_ID].isin(ids)]
    outside = rows[Column.TRUST] == Trust.OUTSIDE if Column.TRUST in rows else False
    rows = rows.assign(_named=is_true(rows[flag]), _known=~pd.Series(outside, index=rows.index))
    order = ["_named", "_known", Column.GAPPED_METAL_CONFIDENCE, Column.GAP_WIDTH_EV, Column.MODEL]
    rows = rows.sort_values(order, ascending=[False, False, False, False, True], kind="stable")
    first = rows.drop_duplicates(Column.MATERIAL_ID).set_index(Column.MATERIAL_ID)
    return first.drop(columns=["_named", "_known"]).loc[ids].reset_index()


def _with_models(picks: pd.DataFrame, classifications: pd.DataFrame, order: PickOrder) -> pd.DataFrame:
    """Add which models call it a hit, out of how many, and their consensus."""
    predicted = classifications[classifications[order.flag].notna()]
    named = predicted[is_true(predicted[order.flag])].groupby(Column.MATERIAL_ID)[Column.MODEL]
    ids = picks[Column.MATERIAL_ID]
    names = named.agg(lambda models: ", ".join(sorted(models))).to_dict()
    asked = predicted.groupby(Column.MATERIAL_ID)[Column.MODEL].nunique()
    columns: dict[str, Any] = {
        Column.CONSENSUS_CONFIDENCE: ids.map(order.confidence).to_numpy(dtype=float),
        Column.GAPPED_METAL_BY: [names.get(name, "") for name in ids],
        Column.N_MODELS_FOR: ids.map(named.nunique()).fillna(0).astype("int64"),
        Column.N_MODELS: ids.map(asked).fillna(0).astype("int64"),
    }
    return picks.assign(**columns)


def _known(table: pd.DataFrame, columns: list[Column]) -> pd.DataFrame:
    """The identifier and those of the columns that a table, possibly of an older version, has."""
    return table[[str(name) for name in (Column.MATERIAL_ID, *columns) if name in table.columns]]


def _choices(
    picks: pd.DataFrame, jobs: pd.DataFrame, selection: SelectionSettings, outside: Collection[str]
) -> list[str]:
    selected = dict(zip(jobs[Column.MATERIAL_ID], jobs[Column.SELECTED_AS], strict=True))
    sizes = CellSizes.of_rows(picks).n_primitive.tolist()
    return [
        describe_choice(selected.get(name), n_sites, selection, is_outside=name in outside)
        for name, n_sites in zip(picks[Column.MATERIAL_ID], sizes, strict=True)
    ]


def describe_choice(selected_as: Any, n_sites: int, selection: SelectionSettings, *, is_outside: bool = False) -> str:
    """Why a predicted gapped metal with `n_sites` in its primitive cell was chosen for DFT, or why not, in words.

    `is_outside` says that every model calls it outside of what it knows.
    """
    if isinstance(selected_as, str):
        return _chosen_words(selected_as)
    if selection.max_sites is not None and n_sites > selection.max_sites:
        return f"not chosen: {n_sites} sites, more than selection.max_sites = {selection.max_sites}"
    if is_outside and not selection.allow_outside:
        return "not chosen: outside of what the models know (selection.allow_outside)"
    return (
        f"not chosen: neither among the {selection.max_positives} best-ranked that can be computed "
        f"(selection.max_positives) nor one of the {selection.n_random_positives} drawn at random from the others"
    )


def _chosen_words(selected_as: str) -> str:
    if selected_as == BY_CONSENSUS:
        return "chosen: one of the best-ranked by all models together"
    if selected_as.startswith(POSITIVE_PREFIX):
        return f"chosen: most confident by {selected_as.removeprefix(POSITIVE_PREFIX)}"
    words = {RANDOM_POSITIVE: "chosen: drawn at random from the other positives"}
    words |= {RANDOM_NEGATIVE: "chosen: drawn at random from the negatives"}
    return words.get(selected_as, f"chosen: {selected_as}")


def _with_dft(picks: pd.DataFrame, jobs: pd.DataFrame, results: pd.DataFrame | None) -> pd.DataFrame:
    ids = picks[Column.MATERIAL_ID]
    states = jobs.drop_duplicates(Column.MATERIAL_ID).set_index(Column.MATERIAL_ID)
    rows = (jobs[:0] if results is None else results).drop_duplicates(Column.MATERIAL_ID, keep="last")
    found = {row[Column.MATERIAL_ID]: row for row in rows.to_dict("records")}
    of_pick = [found.get(name, {}) for name in ids]
    computed = [row if row.get(Column.STATUS) == Status.OK else {} for row in of_pick]
    jobs_state = states[Column.STATUS].to_dict()
    state = [jobs_state.get(name, NOT_CHOSEN) for name in ids]
    picks[Column.DFT_STATUS] = [row.get(Column.STATUS) or now for row, now in zip(of_pick, state, strict=True)]
    reasons = ids.map(states[Column.REASON])
    picks[Column.DFT_REASON] = [
        _text(row.get(Column.REASON)) or _text(job) for row, job in zip(of_pick, reasons, strict=True)
    ]
    picks[Column.DFT_VERDICT] = [dft_verdict(row) for row in computed]
    for name, own in _DFT_NUMBERS.items():
        picks[own] = pd.Series([row.get(name) for row in computed], index=picks.index, dtype="float64")
    if Column.SECOND_CHECK in rows:
        picks = _with_second_check(picks, of_pick)
    is_open = [row.get(Column.GAP_OPEN_AT_BOTTOM) is True for row in computed]
    return picks.assign(**{Column.DFT_GAP_OPEN_AT_BOTTOM: is_open})


def _with_second_check(picks: pd.DataFrame, of_pick: list[dict[Any, Any]]) -> pd.DataFrame:
    """Its verdict, and the risk of a false metal as it is after it."""
    columns = {Column.SECOND_CHECK: [_text(row.get(Column.SECOND_CHECK)) or None for row in of_pick]}
    for name in (Column.FALSE_METAL_RISK, Column.FALSE_METAL_REASON):
        known = picks[name] if name in picks else [None] * len(picks)
        columns[name] = [
            row[name] if done else given
            for row, done, given in zip(of_pick, columns[Column.SECOND_CHECK], known, strict=True)
        ]
    return picks.assign(**{str(name): pd.Series(values, picks.index, dtype=object) for name, values in columns.items()})


def dft_verdict(row: dict[Any, Any]) -> str:
    """The verdict of a row of DFT results, in words."""
    if row.get(Column.IS_GAPPED_METAL) is True:
        return GAPPED_METAL
    if row.get(Column.BELOW_THRESHOLD_EVERYWHERE) is True:
        return "low DOS everywhere"
    if row.get(Column.IS_METAL) is True:
        return "metal without such a gap"
    return "not a metal" if row.get(Column.IS_METAL) is False else NOT_COMPUTED


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
