"""The page of a run: sortable picks, precision and recall, filters. A single file that works offline.

The page holds its tables as JSON; `assets/report.js` renders them. Text from data is JSON here and text nodes there,
never HTML. Third-party scripts are embedded: plotly (MIT) for curves, 3Dmol.js (BSD-3-Clause, Rego and Koes,
Bioinformatics 31, 1322 (2015)) for structures.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs
from pymatgen.core.periodic_table import Element

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.writing import cif_block
from mat2spec.spectra.grids import SpectralGrid
from mat2spec.tables.columns import Column
from mat2spec.tables.status import Status
from screening.choose.selection import target_of
from screening.classify.gapped_metals import gapped_metal_cut
from screening.evaluate.evaluation import POPULATION, VALIDATED_SET
from screening.evaluate.threshold_curves import PREDICTION_MOVED
from screening.report.comparison import Comparison
from screening.report.story import describe_class, describe_dft, describe_level
from screening.report.tables import describe_reference, format_score, format_value
from screening.report.wording import TargetWords, target_words
from screening.runs.schemas import CONFUSION_COLUMNS
from screening.settings import GapSettings

PAGE_FILE = "report.html"
# Maximum number of picks on the page, besides those chosen for DFT. The table has all.
MOST_PICKS = 1000
# Spectra are only drawn, so few digits suffice.
_DIGITS = 4
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; worker-src blob:"
)
_CONFIDENCE = "Confidence is the probability of a gapped metal, calibrated on held-out labels."
_SCORES = (Column.PRECISION, Column.RECALL, Column.F1, Column.MCC, Column.ENRICHMENT)
# Of all picks, what the page says of them together.
OF_ALL_PICKS = (Column.CHOICE, Column.N_MODELS_FOR, Column.CHEMSYS)
_SPEAKS_FOR = {VALIDATED_SET: "the computed materials", POPULATION: "all candidates, by random samples"}


@dataclass(frozen=True)
class PageContent:
    """What the page of a run shows.

    Parameters
    ----------
    run_id, created, source
        Which run it is.
    picks
        The table `picks`.
    classifications, predictions
        The tables of these names, for the picks at least.
    results
        The table `dft_results`; without rows where nothing was computed.
    precision_recall, curve, filter_counts
        The tables `precision_recall`, `threshold_curve`, `filter_counts`; each may be empty.
    crystals
        Crystals of picks, for structures; None where the run has none.
    gap
        The rule of the run.
    grid
        The grid of the spectra.
    of_files
        Whether these are crystals that a person gave, not the picks of a run: no precision, elements or filters then.
    comparison, other_predictions
        What changed from another run to this one, and the spectra that it predicted, to be shown beside those of this one.
    projections
        Of the first picks on elements and shells, where a model gives them.
    target
        What the run searched for: `classify.target`.
    funnel
        What a funnel did and lost, as a sentence; empty without one.
    all_picks
        `OF_ALL_PICKS` of the whole table where `picks` are only those that are shown.
    """

    run_id: str
    created: str
    source: str
    picks: pd.DataFrame
    classifications: pd.DataFrame
    predictions: pd.DataFrame
    results: pd.DataFrame
    precision_recall: pd.DataFrame
    curve: pd.DataFrame
    filter_counts: pd.DataFrame
    crystals: Crystals | None
    gap: GapSettings
    grid: SpectralGrid
    of_files: bool = False
    comparison: Comparison | None = None
    other_predictions: pd.DataFrame | None = None
    projections: Mapping[str, Mapping[str, NDArray[np.floating]]] | None = None
    target: str = Column.IS_GAPPED_METAL
    funnel: str = ""
    all_picks: pd.DataFrame | None = None


def shown_picks(picks: pd.DataFrame) -> pd.DataFrame:
    """The picks shown on the page: the first by rank, and all chosen for DFT."""
    return picks[is_shown(picks)].reset_index(drop=True)


def is_shown(picks: pd.DataFrame) -> NDArray[np.bool_]:
    """Which picks the page shows, by their `choice`, in the order of ranks."""
    chosen = picks[Column.CHOICE].str.startswith("chosen").to_numpy(dtype=bool)
    return (np.arange(len(picks)) < MOST_PICKS) | chosen


def result_page(content: PageContent) -> str:
    """The page as one HTML file without network access."""
    assets = files("screening.report") / "assets"
    texts = {name: (assets / name).read_text(encoding="utf-8") for name in ("report.css", "report.js", "3Dmol-min.js")}
    searched = target_words(content.target).plural.capitalize()
    title = html.escape("Predicted spectra" if content.of_files else f"{searched}, run {content.run_id}")
    scripts = "".join(f"<script>{text}</script>\n" for text in (get_plotlyjs(), texts["3Dmol-min.js"]))
    # In a script element only "<" could end it.
    data = json.dumps(page_data(content), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{texts['report.css']}</style></head><body>\n{_body(content, title)}\n{scripts}"
        f'<script type="application/json" id="data">{data}</script>\n<script>{texts["report.js"]}</script>\n</body></html>\n'
    )


def _body(content: PageContent, title: str) -> str:
    rest = "" if content.of_files else _of_the_run(content)
    return f"""<header><h1>{title}</h1>
<p>{_introduction(content)}</p></header>
<main>{_UPLOAD}{_EXPLORER}{rest}</main>
<footer>Curves by plotly.js (MIT), structures by 3Dmol.js (BSD-3-Clause).</footer>"""


def _introduction(content: PageContent) -> str:
    rule = (
        f"A gapped metal is a metal with a gap in the valence band: {html.escape(content.gap.describe())}, and states "
        "everywhere just above E<sub>F</sub>. "
    )
    if content.of_files:
        return f"{html.escape(content.source)} {rule}{_CONFIDENCE}"
    picks = _all_picks(content)
    shown, named = int(is_shown(picks).sum()), int((picks[Column.N_MODELS_FOR] > 0).sum())
    rest = f" The page shows {shown:,} of {len(picks):,} picks; the table picks has all." if shown < len(picks) else ""
    where = html.escape(f"{content.source}, {content.created[:16].replace('T', ' ')} UTC.")
    what = html.escape(target_words(content.target).heading)
    return (
        f"{where} {named:,} predicted {what}. {rule}Computed spectra are judged by this rule, predictions by "
        f"their confidence. {_CONFIDENCE}{rest} {html.escape(content.funnel)}".rstrip()
    )


def _all_picks(content: PageContent) -> pd.DataFrame:
    return content.picks if content.all_picks is None else content.all_picks


# Shown where a server on this machine answers.
_UPLOAD = """<section id="upload" hidden aria-label="Upload"><label class="drop" id="drop">Drop a CIF, POSCAR or other file of
crystals here, or choose one: <input type="file" id="files" multiple></label><p id="uploaded" class="note" role="status"></p></section>
"""
_EXPLORER = """<div class="columns"><section id="picks" aria-label="Picks"><div class="controls">
<input type="search" id="filter" placeholder="formula, identifier, model, reason" aria-label="Filter">
<select id="dft" aria-label="Verdict of DFT"><option value="">any verdict of DFT</option></select>
<button id="symbol" hidden></button><span id="count" class="note"></span><a id="all" class="button" href="#">CSV</a></div>
<div class="scroll"><table id="list"><thead id="head"></thead><tbody id="rows"></tbody></table></div></section>
<section id="detail" aria-label="Pick"><h3 id="name"></h3><p id="verdict"></p><p id="doubts" class="note"></p>
<label><input type="checkbox" id="low"> low DOS only: where the verdict is made</label>
<div id="spectrum"></div>
<p class="note">Click a name to hide or show it. Bands: one standard deviation. Green: the predicted gap; blue: that of DFT;
dotted: the threshold of a gap. The first picks have projections on elements and shells in the legend, if a model gives them.</p>
<ul id="models" class="verdicts"></ul><p id="choice" class="note"></p>
<div class="controls"><a id="cif" class="button" href="#">CIF</a><a id="csv" class="button" href="#">Spectra, CSV</a>
<a id="link" class="button" target="_blank" rel="noopener noreferrer" hidden>Materials Project</a></div>
<div class="pair"><div id="structure"></div><div class="scroll" style="max-height:320px"><table id="properties"></table></div></div>
</section></div>
"""


def _of_the_run(content: PageContent) -> str:
    """What a run has beside its picks."""
    cut = f"{gapped_metal_cut(content.gap):g}"
    return f"""<section id="compared" hidden><h2>Compared with another run</h2><p id="others" class="note"></p>
<div id="figures" class="wide"></div><h3>What differs</h3><div id="conditions" class="wide"></div>
<h3>Materials whose verdict changed</h3><div id="changed" class="wide scroll"></div></section>
<h2>Precision and recall</h2><div id="merit" class="wide"></div>{_merit_note(content.precision_recall)}
<section id="curves"><h2>Precision and recall at other thresholds</h2>
<label>DOS threshold of a gap in predictions: <input type="range" id="threshold" min="0" value="0"> <output id="at"></output></label>
<div id="curve"></div><div id="moved" class="wide"></div></section>
<section id="reliable"><h2>Confidence against DFT</h2>
<p class="note">The share of computed materials that DFT calls gapped metals, in five ranges of confidence, with 95 % intervals
(Wilson). The materials were chosen, the most confident first: they are not a random sample of all candidates.</p>
<label>Count as found from this confidence on: <input type="range" id="cut" min="0" max="1" step="0.001"
value="{cut}"> <output id="cutat"></output></label> <span class="note">in this run: {cut}</span>
<div id="reliability"></div><div id="cutscores" class="wide"></div></section>
<h2>Elements of the predicted {target_words(content.target).plural}</h2><p class="note">Click an element to show only its picks.</p>
<div class="wide"><div id="periodic"></div></div>
<h2>Filters</h2><div id="funnel" class="funnel"></div>"""


def with_upload(page: str) -> str:
    """A page that asks the server it comes from, and no other, for the spectra of files that are dropped on it."""
    allowed = _POLICY + "; connect-src 'self'"
    return page.replace(_POLICY, allowed, 1).replace("<body>", '<body data-upload="yes">', 1)


def page_data(content: PageContent) -> dict[str, Any]:
    """What the script of a page draws, as plain JSON values."""
    picks = shown_picks(content.picks)
    ids = set(picks[Column.MATERIAL_ID])
    classes = content.classifications[content.classifications[Column.MATERIAL_ID].isin(ids)]
    return {
        "picks": [_plain_row(row) for row in picks.to_dict("records")],
        "columns": {str(name): _described(str(name)) for name in picks.columns},
        "models": sorted(classes[Column.MODEL].unique()),
        "energies": _rounded(content.grid.centers),
        "threshold": content.gap.dos_threshold,
        "per_atom": content.gap.per_atom,
        "spectra": _spectra(_rows_of(content.predictions, ids)),
        "dft": _dft_spectra(content.results),
        "verdicts": _verdicts(classes, _rows_of(content.results, ids), target_words(content.target)),
        "target": target_words(content.target)._asdict(),
        "structures": _structures(content.crystals),
        "merit": _merit(content.precision_recall),
        "curve": _curve(content.curve, content.gap),
        "reliability": _reliability(content.classifications, content.results),
        "of_files": content.of_files,
        "projections": {
            material_id: {shell: _rounded(values) for shell, values in shells.items()}
            for material_id, shells in (content.projections or {}).items()
        },
        "others": {} if content.other_predictions is None else _spectra(_rows_of(content.other_predictions, ids)),
        "comparison": None if content.comparison is None else _comparison(content.comparison),
        "elements": list(_elements(_all_picks(content))),
        "funnel": [
            {"name": row[Column.FILTER], "removed": int(row[Column.REMOVED]), "remaining": int(row[Column.REMAINING])}
            for row in content.filter_counts.to_dict("records")
        ],
    }


def _rows_of(table: pd.DataFrame, material_ids: Collection[str]) -> pd.DataFrame:
    return table[table[Column.MATERIAL_ID].isin(material_ids)]


def _described(name: str) -> dict[str, str]:
    """Label, unit and meaning of a column; for unknown columns only the name."""
    if name not in set(Column):
        return {"label": name, "unit": "", "description": ""}
    column = Column(name)
    return {"label": column.label, "unit": column.unit, "description": column.description}


def _plain_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """A value that JSON can hold; missing and non-finite values become null."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return str(value)


def _rounded(values: Any) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in np.asarray(values, dtype=np.float64)]


def _spectra(predictions: pd.DataFrame) -> dict[str, dict[str, dict[str, list[float]]]]:
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row in predictions.sort_values(Column.MODEL).to_dict("records"):
        if row[Column.EDOS] is None:
            continue
        spectrum = {"edos": _rounded(row[Column.EDOS])}
        if row.get(Column.UNCERTAINTY) is not None:
            spectrum["uncertainty"] = _rounded(row[Column.UNCERTAINTY])
        found.setdefault(row[Column.MATERIAL_ID], {})[row[Column.MODEL]] = spectrum
    return found


def _dft_spectra(results: pd.DataFrame) -> dict[str, list[float]]:
    if Column.EDOS not in results.columns:
        return {}
    computed = results[results[Column.STATUS] == Status.OK]
    return {row[Column.MATERIAL_ID]: _rounded(row[Column.EDOS]) for row in computed.to_dict("records")}


def _verdicts(classes: pd.DataFrame, results: pd.DataFrame, words: TargetWords) -> dict[str, list[str]]:
    """One sentence per material and model, and one about DFT where it was computed."""
    found: dict[str, list[str]] = {}
    for row in classes.sort_values(Column.MODEL).to_dict("records"):
        said = "no prediction" if pd.isna(row[Column.IS_GAPPED_METAL]) else describe_class(row)
        found.setdefault(row[Column.MATERIAL_ID], []).append(f"{row[Column.MODEL]}: {said}.")
    for row in results[results[Column.STATUS] == Status.OK].to_dict("records"):
        sentence = f"DFT ({describe_level(row)}) {describe_dft(row, words)}."
        found.setdefault(row[Column.MATERIAL_ID], []).append(sentence)
    return found


def _structures(crystals: Crystals | None) -> dict[str, str]:
    if crystals is None:
        return {}
    return {str(name): cif_block(crystals, index) for index, name in enumerate(crystals.material_ids)}


def _merit(table: pd.DataFrame) -> dict[str, Any]:
    """The rows on gapped metals, as words."""
    rows = _on_gapped_metals(table).to_dict("records")
    head = [Column.MODEL.label, "Speaks for", Column.REFERENCE.label, Column.N.label]
    head += [name.label for name in (*CONFUSION_COLUMNS, *_SCORES)]
    return {
        "head": head,
        "rows": [
            [
                str(row[Column.MODEL]),
                _SPEAKS_FOR.get(row[Column.ESTIMATE], str(row[Column.ESTIMATE])),
                describe_reference(row),
                format_value(row[Column.N]),
                *(format_value(row[name]) for name in CONFUSION_COLUMNS),
                *(format_score(row, name) for name in _SCORES),
            ]
            for row in rows
        ],
    }


def _on_gapped_metals(table: pd.DataFrame) -> pd.DataFrame:
    return table[table[Column.TARGET] == str(Column.IS_GAPPED_METAL)]


def _merit_note(table: pd.DataFrame) -> str:
    table = _on_gapped_metals(table)
    if table.empty:
        return (
            '<p class="note">Nothing has been computed yet, so it is not known how often the predictions are right.</p>'
        )
    left_out = int(table[Column.N_NOT_REPRESENTED].max())
    words = (
        f" <b>{left_out:,} predicted positives were not chosen</b>, and no random pick represents them."
        if left_out
        else ""
    )
    return (
        '<p class="note">Brackets: 95 % intervals unless set otherwise. All candidates: those small enough to be computed, '
        "extrapolated from the random picks among those with the same verdicts of the models. Dash: unknown, or the interval "
        "is too wide for a figure. Gain: how many times more often a predicted positive is right than a random "
        f"candidate.{words}</p>"
    )


def _curve(curve: pd.DataFrame, gap: GapSettings) -> list[dict[str, Any]]:
    """Precision and recall of the computed materials against the threshold, with the run's rule otherwise."""
    if curve.empty:
        return []
    same = (curve[Column.MOVED] == PREDICTION_MOVED) & (curve[Column.ESTIMATE] == VALIDATED_SET) & (curve[Column.N] > 0)
    for column, value in (
        (Column.MIN_WIDTH_EV, gap.min_width_ev),
        (Column.TOP_MIN_EV, gap.top_min_ev),
        (Column.TOP_MAX_EV, gap.top_max_ev),
    ):
        same &= np.isclose(curve[column].astype(float), value)
    names = {
        "model": Column.MODEL,
        "threshold": Column.DOS_THRESHOLD,
        "precision": Column.PRECISION,
        "recall": Column.RECALL,
        **{str(name): name for name in CONFUSION_COLUMNS},
    }
    return [{key: _plain(row[name]) for key, name in names.items()} for row in curve[same].to_dict("records")]


def _reliability(classes: pd.DataFrame, results: pd.DataFrame) -> list[dict[str, Any]]:
    """Confidence of every model in every computed material, and whether DFT finds what is searched for."""
    if results.empty or Column.IS_GAPPED_METAL not in results:
        return []
    flag = target_of(classes)
    flag = flag if flag in results else Column.IS_GAPPED_METAL
    truth = results.loc[results[flag].notna(), [Column.MATERIAL_ID, flag]].drop_duplicates(Column.MATERIAL_ID)
    truth = truth.rename(columns={flag: "truth"})
    names = [Column.MATERIAL_ID, Column.MODEL, Column.GAPPED_METAL_CONFIDENCE]
    rows = classes[names].merge(truth, on=Column.MATERIAL_ID).dropna(subset=[Column.GAPPED_METAL_CONFIDENCE])
    return [
        {
            "model": row[Column.MODEL],
            "confidence": _plain(row[Column.GAPPED_METAL_CONFIDENCE]),
            "truth": bool(row["truth"]),
        }
        for row in rows.to_dict("records")
    ]


def _comparison(found: Comparison) -> dict[str, Any]:
    """Tables of a comparison, as words."""
    return {
        "before": found.before,
        "after": found.after,
        **{
            name: {"head": list(table.columns), "rows": [[str(cell) for cell in row] for row in table.to_numpy()]}
            for name, table in (
                ("figures", found.counts),
                ("conditions", found.conditions),
                ("changed", found.materials.head(MOST_PICKS)),
            )
        },
    }


def _elements(picks: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Every element with its place in the periodic table and the number of predicted gapped metals containing it."""
    named = picks[picks[Column.N_MODELS_FOR] > 0]
    systems = named[Column.CHEMSYS].dropna().str.split("-")
    counts = systems.explode().value_counts()
    for number in range(1, 119):
        element = Element.from_Z(number)
        row, group = element.row, element.group
        if element.is_lanthanoid or element.is_actinoid:
            # Below the table, from the third group on.
            row, group = row + 3, number - (57 if element.is_lanthanoid else 89) + 3
        yield {"symbol": element.symbol, "row": row, "group": group, "n": int(counts.get(element.symbol, 0))}
