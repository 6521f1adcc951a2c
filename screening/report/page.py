"""A page with a figure of every material that DFT checked, predicted against computed, and the figures of merit."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.graph_objects import Figure

from mat2spec.tables.columns import Column
from mat2spec.tables.status import Status
from screening.evaluate.evaluation import POPULATION, VALIDATED_SET
from screening.evaluate.threshold_curves import PREDICTION_MOVED
from screening.report.figures import FIGURE_WIDTH_PX, model_color, spectrum_figure
from screening.report.tables import UNKNOWN, describe_reference, format_value
from screening.runs.schemas import CONFUSION_COLUMNS
from screening.settings import GapSettings

PAGE_FILE = "dft_report.html"
# Scores from here on are written without decimals that say nothing.
_LARGE = 10
PAGE_WIDTH_PX = 1150
_STYLE = (
    f"body {{ font-family: sans-serif; max-width: {PAGE_WIDTH_PX}px; margin: 2em auto; color: #222 }} "
    "table { border-collapse: collapse; font-size: 0.75em } "
    "td, th { padding: 0.3em 0.5em; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap } "
    f"p, li {{ line-height: 1.4; max-width: {FIGURE_WIDTH_PX}px }}"
)
_EXPLANATION = (
    "A gapped metal is a metal with a gap in the valence band: {rule}, and states everywhere just above "
    "E<sub>F</sub>. Predicted and computed spectra are judged by the same rule. <b>Validated set</b>: the materials that "
    "were computed, counted as they are. <b>Population</b>: random picks weighted up to all predicted positives and "
    "negatives they stand for. In brackets 95 % intervals, unless set otherwise. <b>Gain</b>: how many times more "
    "often a predicted positive is right than a random candidate. {left_out}"
)
_LEFT_OUT = (
    "<b>{number} predicted positives were not chosen</b>, and no random pick stands for them: they are not part of the "
    "population."
)


def figures_page(figures: Sequence[Figure], title: str, introduction: str = "") -> str:
    """A self-contained HTML page: plotly's script is embedded once.

    Parameters
    ----------
    figures
        In the order of the page.
    title
        Heading, as plain text.
    introduction
        HTML that stands before the figures.
    """
    parts = [figure.to_html(full_html=False, include_plotlyjs=position == 0) for position, figure in enumerate(figures)]
    heading = html.escape(title)
    head = f'<head><meta charset="utf-8"><title>{heading}</title><style>{_STYLE}</style></head>'
    body = "\n".join([f"<h1>{heading}</h1>", introduction, *parts])
    return f"<!doctype html>\n<html>{head}<body>\n{body}\n</body></html>\n"


def validation_page(
    title: str,
    predictions: pd.DataFrame,
    dft_results: pd.DataFrame,
    jobs: pd.DataFrame,
    candidates: pd.DataFrame,
    precision_recall: pd.DataFrame,
    curve: pd.DataFrame,
    gap: GapSettings,
) -> str:
    """Page of a run: its figures of merit, the threshold curve, and every validated material.

    Parameters
    ----------
    title
        Heading.
    predictions
        `material_id`, `model`, `edos`, `uncertainty` of the validated materials at least.
    dft_results
        The table of that name, with spectra and classes.
    jobs
        `material_id`, `selected_as`, `status`, `reason`: the order of the page, and why some were not computed.
    candidates
        `material_id`, `formula`.
    precision_recall, curve
        The tables of these names; each may be empty.
    gap
        The rule of the run, marked on the curve.
    """
    formulas = {row[Column.MATERIAL_ID]: row[Column.FORMULA] for row in candidates.to_dict("records")}
    figures = [*_curve_figures(curve, gap), *_material_figures(predictions, dft_results, jobs, formulas)]
    words = _explanation(precision_recall, gap)
    introduction = _merit_table(precision_recall) + words + _not_computed(dft_results, jobs, formulas)
    return figures_page(figures, title, introduction)


def _material_figures(
    predictions: pd.DataFrame, dft_results: pd.DataFrame, jobs: pd.DataFrame, formulas: dict[Any, Any]
) -> Iterator[Figure]:
    computed = dft_results[dft_results[Column.STATUS] == Status.OK].drop_duplicates(Column.MATERIAL_ID, keep="last")
    results = {row[Column.MATERIAL_ID]: row for row in computed.to_dict("records")}
    by_material = dict(list(predictions.groupby(Column.MATERIAL_ID)))
    for job in jobs.to_dict("records"):
        material_id = job[Column.MATERIAL_ID]
        if material_id not in results:
            continue
        result = results[material_id]
        rows = by_material[material_id].to_dict("records") if material_id in by_material else []
        known = sorted((row for row in rows if row[Column.EDOS] is not None), key=lambda row: str(row[Column.MODEL]))
        yield spectrum_figure(
            {row[Column.MODEL]: np.asarray(row[Column.EDOS]) for row in known},
            dft=np.asarray(result[Column.EDOS]),
            uncertainties={
                row[Column.MODEL]: np.asarray(row[Column.UNCERTAINTY])
                for row in known
                if row.get(Column.UNCERTAINTY) is not None
            },
            gap=_gap_of(result),
            title=_title(job, result, formulas),
        )


def _gap_of(result: dict[Any, Any]) -> tuple[float, float] | None:
    """Bottom and top of the gap that the run's rule finds in the DFT spectrum."""
    if result.get(Column.HAS_VB_GAP) is not True or not np.isfinite(result[Column.GAP_TOP_EV]):
        return None
    return float(result[Column.GAP_BOTTOM_EV]), float(result[Column.GAP_TOP_EV])


def _title(job: dict[Any, Any], result: dict[Any, Any], formulas: dict[Any, Any]) -> str:
    material_id = job[Column.MATERIAL_ID]
    chosen_as = str(job[Column.SELECTED_AS]).replace("_", " ").replace(":", " of ")
    judge = describe_reference({**result, Column.REFERENCE: result.get(Column.ENGINE) or "DFT"})
    return (
        f"{html.escape(str(formulas.get(material_id, '')))} ({html.escape(str(material_id))})<br>"
        f"<sub>{_verdict(result)}, by {html.escape(judge)}; chosen as {chosen_as}</sub>"
    )


def _verdict(result: dict[Any, Any]) -> str:
    """What DFT finds, and where the zero of energy is if not at E_F."""
    band_gap = result.get(Column.BAND_GAP)
    if result.get(Column.IS_GAPPED_METAL) is True:
        return "A gapped metal"
    if band_gap is not None and np.isfinite(band_gap) and band_gap > 0:
        return f"Not a metal: band gap of {band_gap:.2f} eV, energies from its VBM"
    if result.get(Column.IS_METAL) is True:
        return "A metal without such a gap"
    return "Not a gapped metal: too few states just above E<sub>F</sub>"


def _curve_figures(curve: pd.DataFrame, gap: GapSettings) -> list[Figure]:
    """Precision and recall over the DOS threshold at the run's own width and window, of the population if known."""
    own = curve[
        (curve[Column.MOVED] == PREDICTION_MOVED)
        & np.isclose(curve[Column.MIN_WIDTH_EV], gap.min_width_ev)
        & np.isclose(curve[Column.TOP_MIN_EV], gap.top_min_ev)
    ]
    estimate = POPULATION if (own[Column.ESTIMATE] == POPULATION).any() else VALIDATED_SET
    own = own[own[Column.ESTIMATE] == estimate]
    if not (own[Column.N] > 0).any():
        return []
    figure = go.Figure()
    for index, ((model, _), rows) in enumerate(own.groupby([Column.MODEL, Column.REFERENCE], sort=True)):
        ordered = rows.sort_values(Column.DOS_THRESHOLD)
        for score, dash in ((Column.PRECISION, "solid"), (Column.RECALL, "dot")):
            line = {"dash": dash, "color": model_color(index)}
            figure.add_scatter(x=ordered[Column.DOS_THRESHOLD], y=ordered[score], name=f"{model}, {score}", line=line)
    _mark_threshold(figure, gap.dos_threshold)
    figure.update_layout(
        title=f"Precision and recall if predictions were judged by another threshold ({estimate.replace('_', ' ')})",
        template="plotly_white",
        width=FIGURE_WIDTH_PX,
    )
    ticks = sorted(own[Column.DOS_THRESHOLD].unique())[::2]
    labels = [f"{tick:.2g}" for tick in ticks]
    figure.update_xaxes(title="DOS threshold of a gap (states/eV)", type="log", tickvals=ticks, ticktext=labels)
    figure.update_yaxes(title="precision, recall", range=[-0.02, 1.02])
    return [figure]


def _mark_threshold(figure: Figure, threshold: float) -> None:
    figure.add_vline(x=threshold, line={"color": "#444444", "dash": "dash", "width": 1})
    # On a logarithmic axis plotly places annotations by their logarithm, lines by their value.
    figure.add_annotation(
        x=np.log10(threshold), y=1.0, yref="paper", yanchor="bottom", showarrow=False, text="this run"
    )


def _explanation(precision_recall: pd.DataFrame, gap: GapSettings) -> str:
    """What the figures of merit mean, and what they leave out."""
    rows = precision_recall[precision_recall[Column.ESTIMATE] == POPULATION]
    number = int(rows[Column.N_NOT_REPRESENTED].max()) if len(rows) else 0
    left_out = _LEFT_OUT.format(number=f"{number:,}") if number else ""
    return f"<p>{_EXPLANATION.format(rule=html.escape(gap.describe()), left_out=left_out)}</p>"


def _merit_table(precision_recall: pd.DataFrame) -> str:
    """The rows on gapped metals as an HTML table."""
    rows = precision_recall[precision_recall[Column.TARGET] == Column.IS_GAPPED_METAL].to_dict("records")
    scores = (Column.PRECISION, Column.RECALL, Column.F1, Column.MCC, Column.ENRICHMENT)
    names = (Column.N, *CONFUSION_COLUMNS, *scores)
    head = "".join(f"<th>{name.label}</th>" for name in (Column.MODEL, Column.ESTIMATE, Column.REFERENCE, *names))
    body = ""
    for row in rows:
        words = [row[Column.MODEL], str(row[Column.ESTIMATE]).replace("_", " "), describe_reference(row)]
        cells = [*words, *(_number(row, str(name)) for name in names)]
        body += "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"
    return f'<div style="overflow-x: auto"><table><tr>{head}</tr>{body}</table></div>'


def _number(row: dict[Any, Any], name: str) -> str:
    """A count unchanged; a score to two decimals, with its interval if it has one."""
    if f"{name}_low" not in row:
        return format_value(row.get(name))
    value, low, high = (_two_decimals(row.get(key)) for key in (name, f"{name}_low", f"{name}_high"))
    return value if UNKNOWN in {value, low} else f"{value} [{low}, {high}]"


def _two_decimals(value: Any) -> str:
    text = format_value(value)
    return text if text == UNKNOWN or abs(value) >= _LARGE else f"{round(value, 2) + 0.0:.2f}"


def _not_computed(dft_results: pd.DataFrame, jobs: pd.DataFrame, formulas: dict[Any, Any]) -> str:
    """List of the chosen materials without a spectrum, with the reason."""
    computed = set(dft_results.loc[dft_results[Column.STATUS] == Status.OK, Column.MATERIAL_ID])
    items = ""
    for job in jobs.to_dict("records"):
        material_id = job[Column.MATERIAL_ID]
        if material_id not in computed:
            words = f"{formulas.get(material_id, '')} ({material_id}): {job[Column.STATUS]}. {job[Column.REASON] or ''}"
            items += f"<li>{html.escape(words)}</li>"
    return f"<p>Chosen and not computed:</p><ul>{items}</ul>" if items else ""
