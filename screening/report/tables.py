"""Tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from mat2spec.tables.columns import Column
from mat2spec.tables.status import Status
from screening.choose.selection import rank_by_consensus, target_of
from screening.evaluate.evaluation import VALIDATED_SET, is_true
from screening.runs.schemas import CONFUSION_COLUMNS

UNKNOWN = "-"


def frame_table(frame: pd.DataFrame, title: str = "", max_rows: int = 20) -> Table:
    """Show any result table: numbers to the right, long lists as their length.

    Parameters
    ----------
    frame
        The rows.
    title
        Heading.
    max_rows
        Rows to show; the caption says how many there are.
    """
    shown = min(len(frame), max_rows)
    caption = f"{shown} of {len(frame)} rows" if shown < len(frame) else None
    table = Table(title=title or None, caption=caption, title_justify="left", caption_justify="left")
    for name in frame.columns:
        table.add_column(str(name), justify="right" if frame[name].dtype.kind in "iuf" else "left")
    for row in frame.head(max_rows).itertuples(index=False):
        table.add_row(*(format_value(value) for value in row))
    return table


def format_value(value: object) -> str:
    """Write a value of a table cell: three significant decimals, yes or no, a dash where nothing is known."""
    if isinstance(value, list | tuple | np.ndarray):
        return f"[{len(value)} numbers]"
    if value is None or _is_missing(value):
        return UNKNOWN
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        number = float(value)
        return f"{number:.0f}" if number.is_integer() and abs(number) >= 10 else f"{number:.3g}"
    return str(value)


def _is_missing(value: object) -> bool:
    return value is pd.NA or value is pd.NaT or (isinstance(value, float | np.floating) and math.isnan(value))


def filter_counts_table(counts: pd.DataFrame) -> Table:
    """Show what each filter removed."""
    table = Table(title="Filters", title_justify="left")
    columns = (Column.REMOVED, Column.UNKNOWN_REMOVED, Column.UNKNOWN_KEPT, Column.REMAINING)
    table.add_column(Column.FILTER.heading)
    for column in columns:
        table.add_column(column.heading, justify="right")
    for row in counts.to_dict("records"):
        table.add_row(str(row[Column.FILTER]), *(f"{int(row[column]):,}" for column in columns))
    return table


def gapped_metals_table(classifications: pd.DataFrame, candidates: pd.DataFrame, max_rows: int = 10) -> Table:
    """Show the predicted gapped metals, the most confident of all models together first.

    A material that several models predict is listed once, with all of them named.
    """
    flag = target_of(classifications)
    positive = classifications[is_true(classifications[flag])]
    models = positive.groupby(Column.MATERIAL_ID, sort=False)[Column.MODEL].agg(lambda names: ", ".join(sorted(names)))
    best = rank_by_consensus(classifications)
    formulas = candidates.set_index(Column.MATERIAL_ID)[Column.FORMULA]
    is_usual = flag == Column.IS_GAPPED_METAL or classifications[flag].equals(classifications[Column.IS_GAPPED_METAL])
    table = Table(
        title=f"Predicted {'gapped metals' if is_usual else 'hits'}: {len(best):,} of {classifications[Column.MATERIAL_ID].nunique():,} candidates",
        caption="Confidence: mean over all models. Gap: run of low DOS below E_F. Energies relative to E_F.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("#", justify="right")
    for column in (Column.MATERIAL_ID, Column.FORMULA):
        table.add_column(column.heading)
    for column in (Column.GAPPED_METAL_CONFIDENCE, Column.GAP_TOP_EV, Column.GAP_WIDTH_EV):
        table.add_column(column.heading, justify="right")
    table.add_column(Column.DOS_AT_EFERMI.label, justify="right")
    table.add_column("Models")
    for rank, row in enumerate(best.head(max_rows).to_dict("records"), 1):
        material_id = row[Column.MATERIAL_ID]
        table.add_row(
            str(rank),
            str(material_id),
            str(formulas.get(material_id, UNKNOWN)),
            f"{row[Column.GAPPED_METAL_CONFIDENCE]:.2f}",
            _ratio(row[Column.GAP_TOP_EV]),
            _width(row),
            f"{row[Column.DOS_AT_EFERMI]:.2f}",
            str(models[material_id]),
        )
    return table


def _width(row: Mapping[Hashable, Any]) -> str:
    """Width of a gap, as a lower bound if it is open at the bottom of the grid."""
    width = format_value(row[Column.GAP_WIDTH_EV])
    return f"≥ {width}" if row.get(Column.GAP_OPEN_AT_BOTTOM) is True else width


def dft_table(dft_results: pd.DataFrame, picks: pd.DataFrame, candidates: pd.DataFrame) -> Table:
    """Show what DFT found for each chosen material, or why it was not computed."""
    formulas = candidates.set_index(Column.MATERIAL_ID)[Column.FORMULA]
    results = dft_results.drop_duplicates(Column.MATERIAL_ID, keep="last").set_index(Column.MATERIAL_ID)
    table = Table(title="Checked by DFT", title_justify="left")
    answers = (Column.IS_GAPPED_METAL, Column.GAP_TOP_EV, Column.GAP_WIDTH_EV, Column.CPU_SECONDS)
    for column in (Column.MATERIAL_ID, Column.FORMULA, Column.SELECTED_AS, Column.STATUS, *answers):
        table.add_column(column.heading, justify="right" if column.unit else "left")
    for pick in picks.to_dict("records"):
        material_id = pick[Column.MATERIAL_ID]
        row = results.loc[material_id].to_dict() if material_id in results.index else {}
        status = str(row.get(Column.STATUS, "not computed"))
        table.add_row(
            str(material_id),
            str(formulas.get(material_id, UNKNOWN)),
            str(pick[Column.SELECTED_AS]).replace("_", " "),
            status if status == Status.OK else f"{status}: {format_value(row.get(Column.REASON))}",
            *(format_value(row.get(column)) for column in answers),
        )
    return table


def precision_recall_table(table: pd.DataFrame, target: Column = Column.IS_GAPPED_METAL) -> Table:
    """Show precision and recall of the models for one target, with their intervals."""
    rows = table[table[Column.TARGET] == str(target)].to_dict("records")
    references = sorted({describe_reference(row) for row in rows})
    shown = Table(
        title=f"Precision and recall, {target.label.lower()}, against {'; '.join(references) or UNKNOWN}",
        caption="Brackets: 95 % intervals unless set otherwise. Population: random picks weighted up to all predicted "
        "positives and negatives they stand for. Gain: how many times more often a predicted positive is right than a "
        "random candidate. Left out: predicted positives that were not chosen and for which no random one stands.",
        title_justify="left",
        caption_justify="left",
    )
    for column in (Column.MODEL, Column.ESTIMATE, *((Column.REFERENCE,) if len(references) > 1 else ())):
        shown.add_column(column.heading)
    scores = (Column.PRECISION, Column.RECALL, Column.F1, Column.MCC, Column.ENRICHMENT)
    for column in (Column.N, *CONFUSION_COLUMNS, *scores, Column.N_FAILED, Column.N_NOT_REPRESENTED):
        shown.add_column(column.heading, justify="right")
    for row in rows:
        shown.add_row(
            str(row[Column.MODEL]),
            "validated set" if row[Column.ESTIMATE] == VALIDATED_SET else "population",
            *((describe_reference(row),) if len(references) > 1 else ()),
            format_value(row[Column.N]),
            *(format_value(row[name]) for name in CONFUSION_COLUMNS),
            _with_interval(row, Column.PRECISION, Column.PRECISION_LOW, Column.PRECISION_HIGH),
            _with_interval(row, Column.RECALL, Column.RECALL_LOW, Column.RECALL_HIGH),
            _ratio(row[Column.F1]),
            _ratio(row[Column.MCC]),
            _gain(row),
            format_value(row[Column.N_FAILED]),
            format_value(row.get(Column.N_NOT_REPRESENTED)),
        )
    return shown


def describe_reference(row: Mapping[Hashable, Any]) -> str:
    """Say what a row of a table was compared with, e.g. "gpaw PBE+U unpolarised"."""
    u_values = row.get(Column.U_VALUES)
    has_u = isinstance(u_values, str) and u_values not in {"", "{}"}
    functional, spin = (str(row.get(name) or "") for name in (Column.FUNCTIONAL, Column.SPIN))
    return " ".join(filter(None, [str(row[Column.REFERENCE]), f"{functional}+U" if has_u else functional, spin]))


def _ratio(value: Any) -> str:
    # Adding zero keeps a small negative number from being written as -0.00.
    return UNKNOWN if value is None or _is_missing(value) else f"{round(value, 2) + 0.0:.2f}"


def _gain(row: Mapping[Hashable, Any]) -> str:
    value, low, high = (
        format_value(row.get(name)) for name in (Column.ENRICHMENT, Column.ENRICHMENT_LOW, Column.ENRICHMENT_HIGH)
    )
    return value if UNKNOWN in {value, low} else f"{value} [{low}, {high}]"


def _with_interval(row: Mapping[Hashable, Any], value: Column, low: Column, high: Column) -> str:
    if _ratio(row[value]) == UNKNOWN:
        return UNKNOWN
    return f"{_ratio(row[value])} [{_ratio(row[low])}, {_ratio(row[high])}]"
