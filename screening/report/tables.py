"""Tables for the terminal; their text is data, to be printed by a console without markup."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.table import Table

from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import is_true
from mat2spec.tables.status import Status
from screening.choose.selection import (
    POSITIVE_PREFIX,
    RANDOM_NEGATIVE,
    RANDOM_POSITIVE,
    rank_by_consensus,
    target_of,
)
from screening.evaluate.evaluation import VALIDATED_SET
from screening.runs.schemas import CONFUSION_COLUMNS

UNKNOWN = "-"
_FORMULA_WIDTH = 7
_NARROW = 80
# Columns of a condition that fit beside identifier and formula.
_MOST_NAMED = 2
_SCORES = ("Of", "tp/fp/fn/tn", "Precision", "Recall", "F1")
# Scores from here on are written without insignificant decimals.
_LARGE = 10
_CHOSEN_BY = {RANDOM_POSITIVE: "random pos.", RANDOM_NEGATIVE: "random neg."}
# From here on three significant digits would be written as a power of ten.
_WHOLE = 999.5
# And from here on whole numbers would be longer than their meaning, as for carriers per cm3.
_HUGE = 1e6
# Tables fit 80 columns: one blank between columns, no lines between them.
_COMPACT: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0), "show_edge": False, "pad_edge": False}


def frame_table(frame: pd.DataFrame, title: str = "", max_rows: int = 20) -> Table:
    """Show any result table: numbers right-aligned, long lists as their length.

    Parameters
    ----------
    frame
        The rows.
    title
        Heading.
    max_rows
        Rows to show; the caption gives the total.
    """
    shown = min(len(frame), max_rows)
    caption = f"{shown} of {len(frame)} rows" if shown < len(frame) else None
    table = Table(title=title or None, caption=caption, title_justify="left", caption_justify="left")
    for name in frame.columns:
        table.add_column(str(name), justify="right" if frame[name].dtype.kind in "iuf" else "left", overflow="fold")
    for row in frame.head(max_rows).itertuples(index=False):
        table.add_row(*(format_value(value) for value in row))
    return table


def format_value(value: object) -> str:
    """Format the value of a table cell: three significant digits, yes or no, a dash if unknown."""
    if isinstance(value, list | tuple | np.ndarray):
        return f"[{len(value)} numbers]"
    if value is None or _is_missing(value):
        return UNKNOWN
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        number = float(value)
        if abs(number) >= _HUGE:
            return f"{number:.2e}".replace("e+", "e")
        return (
            f"{number:.0f}" if abs(number) >= _WHOLE or (number.is_integer() and abs(number) >= 10) else f"{number:.3g}"
        )
    return str(value)


def _is_missing(value: object) -> bool:
    return value is pd.NA or value is pd.NaT or (isinstance(value, float | np.floating) and math.isnan(value))


def filter_counts_table(counts: pd.DataFrame) -> Table:
    """Show what each filter removed, with counts of unknown values if there are any."""
    table = _compact_table("Filters")
    maybe = [column for column in (Column.UNKNOWN_REMOVED, Column.UNKNOWN_KEPT) if counts[column].any()]
    columns = (Column.REMOVED, *maybe, Column.REMAINING)
    table.add_column(Column.FILTER.heading)
    for column in columns:
        table.add_column(column.heading, justify="right")
    for row in counts.to_dict("records"):
        table.add_row(str(row[Column.FILTER]), *(f"{int(row[column]):,}" for column in columns))
    return table


def gapped_metals_table(
    classifications: pd.DataFrame, candidates: pd.DataFrame, max_rows: int = 10, *, condition: str = ""
) -> Table:
    """Show the predicted gapped metals, by decreasing `consensus_confidence`.

    A material that several models predict is listed once, with how many of them do. Where something else is searched for,
    the columns that its condition names are shown instead of the gap.
    """
    named = columns_named(condition, classifications.columns)[:_MOST_NAMED]
    flag = target_of(classifications)
    positive = classifications[is_true(classifications[flag])]
    n_for = positive.groupby(Column.MATERIAL_ID)[Column.MODEL].nunique()
    models = sorted(classifications[Column.MODEL].unique())
    best = rank_by_consensus(classifications)
    formulas = candidates.set_index(Column.MATERIAL_ID)[Column.FORMULA]
    is_usual = flag == Column.IS_GAPPED_METAL or classifications[flag].equals(classifications[Column.IS_GAPPED_METAL])
    what = "gapped metals" if is_usual else "hits"
    table = _compact_table(
        f"Predicted {what}: {len(best):,} of {classifications[Column.MATERIAL_ID].nunique():,} candidates",
        f"Conf.: mean confidence of {', '.join(models)}{', weighted by skill' if len(models) > 1 else ''}. "
        f"{'' if named else 'Top and width of the gap in eV, energies from E_F. '}By: how many models predict it.",
    )
    table.add_column("#", justify="right")
    table.add_column(Column.MATERIAL_ID.heading, overflow="fold")
    table.add_column(Column.FORMULA.heading, overflow="fold", min_width=_FORMULA_WIDTH)
    for heading in ("Conf.", *(named or ("Top", "Width")), "By"):
        table.add_column(heading, justify="right", no_wrap=heading not in named, overflow="fold")
    for rank, row in enumerate(best.head(max_rows).to_dict("records"), 1):
        material_id = row[Column.MATERIAL_ID]
        table.add_row(
            str(rank),
            str(material_id),
            str(formulas.get(material_id, UNKNOWN)),
            _two_decimals(row[Column.CONSENSUS_CONFIDENCE]),
            *([format_value(row[name]) for name in named] or [_two_decimals(row[Column.GAP_TOP_EV]), _width(row)]),
            f"{n_for[material_id]} of {len(models)}",
        )
    return table


def columns_named(condition: str, columns: Iterable[str]) -> list[str]:
    """Those of the columns that an SQL condition names, in its order.

    Examples
    --------
    >>> columns_named("gap_width_ev > 2 and is_metal", ["is_metal", "formula", "gap_width_ev"])
    ['gap_width_ev', 'is_metal']
    """
    known = set(columns)
    return [word for word in dict.fromkeys(re.findall(r"\w+", condition)) if word in known]


def _compact_table(title: str, caption: str = "") -> Table:
    return Table(title=title, caption=caption or None, title_justify="left", caption_justify="left", **_COMPACT)


def _width(row: Mapping[Hashable, Any]) -> str:
    """Width of a gap, as a lower bound if it is open at the bottom of the grid."""
    width = _two_decimals(row[Column.GAP_WIDTH_EV])
    return f"≥{width}" if width != UNKNOWN and row.get(Column.GAP_OPEN_AT_BOTTOM) is True else width


def dft_table(dft_results: pd.DataFrame, picks: pd.DataFrame, candidates: pd.DataFrame) -> Table:
    """Show what DFT found for each chosen material; the caption says why some have no spectrum."""
    formulas = candidates.set_index(Column.MATERIAL_ID)[Column.FORMULA]
    rows = dft_results.drop_duplicates(Column.MATERIAL_ID, keep="last").to_dict("records")
    results = {row[Column.MATERIAL_ID]: row for row in rows}
    chosen = [
        {**pick, **results.get(pick[Column.MATERIAL_ID], {Column.STATUS: "not computed"})}
        for pick in picks.to_dict("records")
    ]
    table = _compact_table("Checked by DFT: is it a gapped metal?", "\n".join(_reasons(chosen)))
    table.add_column(Column.MATERIAL_ID.heading, overflow="fold")
    table.add_column(Column.FORMULA.heading, overflow="fold", min_width=_FORMULA_WIDTH)
    for heading in ("Chosen by", "By DFT"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Top", "Width"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in chosen:
        is_known = row[Column.STATUS] == Status.OK
        table.add_row(
            str(row[Column.MATERIAL_ID]),
            str(formulas.get(row[Column.MATERIAL_ID], UNKNOWN)),
            _CHOSEN_BY.get(row[Column.SELECTED_AS], str(row[Column.SELECTED_AS]).removeprefix(POSITIVE_PREFIX)),
            format_value(row.get(Column.IS_GAPPED_METAL)) if is_known else str(row[Column.STATUS]),
            _two_decimals(row.get(Column.GAP_TOP_EV)),
            _width(row) if is_known and Column.GAP_WIDTH_EV in row else UNKNOWN,
        )
    return table


def _reasons(chosen: Sequence[Mapping[Hashable, Any]]) -> Iterator[str]:
    """Why materials have no DFT spectrum, each reason once."""
    told = set()
    for row in chosen:
        reason = row.get(Column.REASON)
        if row[Column.STATUS] != Status.OK and isinstance(reason, str) and reason:
            sentence = f"{row[Column.STATUS]}: {reason}"
            if sentence not in told:
                told.add(sentence)
                yield sentence


def precision_recall_table(table: pd.DataFrame, target: Column = Column.IS_GAPPED_METAL) -> Table:
    """Show precision and recall of the models for one target, with their intervals: two lines per model."""
    rows = table[table[Column.TARGET] == str(target)].to_dict("records")
    references = sorted({describe_reference(row) for row in rows})
    several = len(references) > 1
    named = [f"({number}) {name}" if several else name for number, name in enumerate(references, 1)]
    shown = _compact_table(
        f"Precision and recall, {target.label.lower()}, against {'; '.join(named) or UNKNOWN}",
        "Validated: the computed materials, as counted. Population: all candidates small enough to be computed, "
        "extrapolated from the random picks among those with the same verdicts of the models. Brackets: 95 % intervals "
        "unless set otherwise. Dash: unknown, or the interval is too wide for a figure."
        f"{_gains(rows)}{_left_out(rows)}",
    )
    lines = [
        (
            str(row[Column.MODEL]),
            *((f"({references.index(describe_reference(row)) + 1})",) if several else ()),
            *_scores(row),
        )
        for row in rows
    ]
    headings = (*(("Vs",) if several else ()), *_SCORES)
    shown.add_column(Column.MODEL.heading, overflow="fold", min_width=_room_for_names(lines, headings))
    for heading in headings:
        shown.add_column(heading, justify="left" if heading in {"Vs", "Of"} else "right", no_wrap=True)
    before: tuple[str, ...] = ()
    for line in lines:
        n_names = 2 if several else 1
        name = line[:n_names]
        shown.add_row(*(("",) * n_names if name == before else name), *line[n_names:])
        before = name
    return shown


def _room_for_names(lines: Sequence[tuple[str, ...]], headings: Sequence[str]) -> int:
    """Characters for the name in front of each line that 80 columns leave; not more than the longest name needs."""
    widths = [
        max([len(heading), *(len(line[column]) for line in lines)]) for column, heading in enumerate(headings, start=1)
    ]
    longest = max((len(line[0]) for line in lines), default=0)
    return min(longest, max(_NARROW - sum(widths) - len(widths), _FORMULA_WIDTH))


def precision_recall_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Precision and recall as words in seven columns, for whoever shows tables without headings of several lines."""
    return [
        {
            "model": row[Column.MODEL],
            "against": f"{describe_reference(row)}: {row[Column.TARGET]}",
            **dict(zip(("of", "tp/fp/fn/tn", "precision", "recall", "F1"), _scores(row), strict=True)),
        }
        for row in table.to_dict("records")
    ]


def _scores(row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    """What a row of precision and recall says, in the order of `_SCORES`."""
    return (
        "validated" if row[Column.ESTIMATE] == VALIDATED_SET else "population",
        "/".join(format_value(row[column]) for column in CONFUSION_COLUMNS),
        _with_interval(row, Column.PRECISION, Column.PRECISION_LOW, Column.PRECISION_HIGH),
        _with_interval(row, Column.RECALL, Column.RECALL_LOW, Column.RECALL_HIGH),
        _two_decimals(row[Column.F1]),
    )


def _gains(rows: Sequence[Mapping[Hashable, Any]]) -> str:
    """By what factor each model finds positives better than random picking, where known."""
    gains = [f"{row[Column.MODEL]} {_gain(row)}" for row in rows if _gain(row) != UNKNOWN]
    if not gains:
        return ""
    return f" Factor by which a predicted positive is right more often than a random candidate: {'; '.join(gains)}."


def _left_out(rows: Sequence[Mapping[Hashable, Any]]) -> str:
    """What the figures do not cover, if anything."""
    failed = max((int(row[Column.N_FAILED]) for row in rows), default=0)
    missing = max((int(row.get(Column.N_NOT_REPRESENTED) or 0) for row in rows), default=0)
    words = f" {failed} chosen materials have no DFT spectrum." if failed else ""
    return words + (
        f" {missing} predicted positives were not chosen and no random pick represents them." if missing else ""
    )


def describe_reference(row: Mapping[Hashable, Any]) -> str:
    """The reference of a row in words, e.g. "gpaw PBE+U unpolarised"."""
    u_values = row.get(Column.U_VALUES)
    has_u = isinstance(u_values, str) and u_values not in {"", "{}"}
    known = [row.get(name) for name in (Column.REFERENCE, Column.FUNCTIONAL, Column.SPIN)]
    reference, functional, spin = (word if isinstance(word, str) else "" for word in known)
    return " ".join(filter(None, [reference or "DFT", f"{functional}+U" if has_u else functional, spin]))


def format_score(row: Mapping[Hashable, Any], name: Column) -> str:
    """A score to two decimals, with its interval if it has one."""
    value, low, high = (_short(row.get(key)) for key in (name, f"{name}_low", f"{name}_high"))
    return value if UNKNOWN in {value, low} else f"{value} [{low}, {high}]"


def _short(value: Any) -> str:
    text = format_value(value)
    return text if text == UNKNOWN or abs(value) >= _LARGE else _two_decimals(value)


def _two_decimals(value: Any) -> str:
    # Adding zero keeps a small negative number from being written as -0.00.
    return UNKNOWN if value is None or _is_missing(value) else f"{round(value, 2) + 0.0:.2f}"


def _gain(row: Mapping[Hashable, Any]) -> str:
    value, low, high = (
        format_value(row.get(name)) for name in (Column.ENRICHMENT, Column.ENRICHMENT_LOW, Column.ENRICHMENT_HIGH)
    )
    return value if UNKNOWN in {value, low} else f"{value} [{low}-{high}]"


def _with_interval(row: Mapping[Hashable, Any], value: Column, low: Column, high: Column) -> str:
    if _two_decimals(row[value]) == UNKNOWN:
        return UNKNOWN
    return f"{_two_decimals(row[value])} [{_bound(row[low])}-{_bound(row[high])}]"


def _bound(value: Any) -> str:
    """End of an interval between 0 and 1 in three characters: .41, 1.0."""
    text = _two_decimals(value)
    return text if text == UNKNOWN else "1.0" if text == "1.00" else text.removeprefix("0")
