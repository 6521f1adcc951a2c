"""The tables of a benchmark, one for each test set: mean and spread over seeds, ensembles, baselines, published figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mat2spec.benchmark.data import BenchmarkError, Result
from mat2spec.benchmark.label_noise import LabelNoise
from mat2spec.benchmark.layouts import Layout
from mat2spec.benchmark.test_sets import TEST_SETS, in_order
from mat2spec.labels.splits import Split
from mat2spec.tables.files import atomic_path

PAPER, BASELINE = "paper", "baseline"
RESULTS_FILE, TABLE_FILE = "results.json", "table.md"
NOISE_EXPLANATION = (
    "How much labels of the same materials differ if only the stated condition is changed: no model can be shown to be "
    "better than this."
)
_COUNTS = {"n": "materials", "n_gapped_metals": "gapped metals"}


@dataclass(frozen=True)
class Figures:
    """The results in a table.

    Parameters
    ----------
    cells
        Single trainings.
    ensembles
        Seeds of one model and setting together.
    weights
        Saved weights that were evaluated.
    baselines
        Predictors that know only the composition.
    """

    cells: Sequence[Result] = ()
    ensembles: Sequence[Result] = ()
    weights: Sequence[Result] = ()
    baselines: Sequence[Result] = ()

    def __bool__(self) -> bool:
        return bool(self.all)

    @property
    def all(self) -> list[Result]:
        """All results."""
        return [*self.cells, *self.ensembles, *self.weights, *self.baselines]

    @property
    def test_sets(self) -> list[str]:
        """Test sets of any result, in order."""
        return in_order(name for result in self.all for name in result["metrics"])

    def on(self, test_set: str) -> Figures:
        """The results for a test set."""
        return Figures(*([one for one in kind if test_set in one["metrics"]] for kind in vars(self).values()))

    def completed_by(self, earlier: Figures) -> Figures:
        """These figures, and earlier ones of models and settings that are not among them.

        Earlier results for test sets whose materials have changed, as they grow with the labels, are left out.
        """
        trained = {_model_and_setting(result) for result in self.cells}
        judged = {_model_and_setting(result) for result in self.weights}
        counts = self._counts()
        return Figures(
            [*self.cells, *_still_valid(earlier.cells, trained, counts)],
            [*self.ensembles, *_still_valid(earlier.ensembles, trained, counts)],
            [*self.weights, *_still_valid(earlier.weights, judged, counts)],
            self.baselines or earlier.baselines,
        )

    def _counts(self) -> dict[str, float]:
        """Materials of each test set."""
        return {name: self.on(name).all[0]["metrics"][name]["n"] for name in self.test_sets}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    setting
        Normalisation and loss.
    contender
        Who.
    kind
        ``"seeds"``, ``"ensemble"``, ``"weights"``, ``"baseline"`` or ``"paper"``.
    n_members
        Trainings behind it; 0 where not known.
    mean, spread
        Figures by name; a spread only where there are several seeds.
    training
        Spectra trained on, epochs and time of one training, in words; empty where not known.
    intervals
        Bootstrap intervals by name, where there are any; of several seeds the mean of their ends.
    """

    setting: str
    contender: str
    kind: str
    n_members: int
    mean: dict[str, float]
    spread: dict[str, float]
    training: str = ""
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def cells(self, layout: Layout, before_interval: str = " ") -> list[str]:
        """The line as text, one entry per column."""
        plain = {"seeds": f"{self.n_members}", PAPER: PAPER, BASELINE: BASELINE}
        who = plain.get(self.kind, f"{self.kind} of {self.n_members}")
        numbers = (self._number(key, form, before_interval) for key, (_, form) in layout.columns.items())
        return [self.setting, self.contender, who, self.training, *numbers]

    def _number(self, key: str, form: str, before_interval: str) -> str:
        if key not in self.mean:
            return ""
        text = form.format(self.mean[key])
        if key in self.spread:
            text += f" +- {form.format(self.spread[key])}"
        if key not in self.intervals:
            return text
        low, high = (form.format(end) for end in self.intervals[key])
        return f"{text}{before_interval}[{low}, {high}]"


def make_rows(figures: Figures, layout: Layout, test_set: str = Split.TEST) -> list[Row]:
    """All lines of a test set, by setting, contender and kind, with the published one of each model and setting."""
    figures = _with_numbers(figures.on(test_set), test_set)
    rows = [_seeds_row(group, layout, test_set) for group in group_cells(figures.cells).values()]
    rows += [_single_row(result, "ensemble", test_set) for result in figures.ensembles]
    rows += [_single_row(result, "weights", test_set) for result in figures.weights]
    rows += [_single_row(result, BASELINE, test_set) for result in figures.baselines]
    shown = {row.setting for row in rows}
    for published in layout.published if TEST_SETS[test_set].beside_published else ():
        if str(published.setting) in shown:
            rows.append(Row(str(published.setting), published.model, PAPER, 0, _known(published.scores()), {}))
    order = (BASELINE, "seeds", "ensemble", "weights", PAPER)
    return sorted(rows, key=lambda row: (row.kind != BASELINE, row.setting, row.contender, order.index(row.kind)))


def _with_numbers(figures: Figures, test_set: str) -> Figures:
    """The same results; those on fewer materials than others of the test set have the number in their name."""
    numbers = [result["metrics"][test_set].get("n") for result in figures.all]
    most = max((number for number in numbers if number is not None), default=None)

    def named(result: Result) -> Result:
        number = result["metrics"][test_set].get("n", most)
        return result if number == most else {**result, "contender": f"{result['contender']} ({number:.0f} materials)"}

    return Figures(*([named(result) for result in results] for results in vars(figures).values()))


def group_cells(cells: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    """Results of each setting and contender, by seed."""
    ordered = sorted(cells, key=lambda result: (*_model_and_setting(result), result["seed"]))
    return {name: list(group) for name, group in groupby(ordered, _model_and_setting)}


def _still_valid(
    earlier: Sequence[Result], replaced: set[tuple[str, str]], counts: Mapping[str, float]
) -> list[Result]:
    kept = []
    for result in earlier:
        metrics = {
            split: scores
            for split, scores in result["metrics"].items()
            if split not in counts or scores.get("n") == counts[split]
        }
        if _model_and_setting(result) not in replaced and in_order(metrics):
            kept.append({**result, "metrics": metrics})
    return kept


def _model_and_setting(result: Result) -> tuple[str, str]:
    return result["setting"], result["contender"]


def heading(figures: Figures, test_set: str) -> str:
    """Title of the table of a test set, with the number of materials."""
    of_all = [result["metrics"][test_set] for result in figures.on(test_set).all]
    scores = max(of_all, key=lambda scores: scores.get("n", 0.0))
    counts = [f"{scores[name]:.0f} {what}" for name, what in _COUNTS.items() if scores.get(name) is not None]
    return f"{TEST_SETS[test_set].title} ({', '.join(counts)})" if counts else TEST_SETS[test_set].title


def markdown(figures: Figures, layout: Layout, noise: Sequence[LabelNoise] = ()) -> str:
    """The tables as Markdown, with what their columns mean."""
    lines = [f"# {layout.title}", "", layout.explanation]
    for test_set in figures.test_sets:
        lines += [f"## {heading(figures, test_set)}", "", TEST_SETS[test_set].description, ""]
        rows = [row.cells(layout) for row in make_rows(figures, layout, test_set)]
        lines += [*_table(layout.header, rows), ""]
    if noise:
        columns = {name: column for name, column in layout.columns.items() if any(name in one.metrics for one in noise)}
        header = ["label noise", "materials", *(title for title, _ in columns.values())]
        lines += [
            "## Label noise: the ceiling",
            "",
            NOISE_EXPLANATION,
            "",
            *_table(header, _noise_rows(noise, columns)),
            "",
        ]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return lines + ["| " + " | ".join(row).replace("+-", "±") + " |" for row in rows]


def _noise_rows(noise: Sequence[LabelNoise], columns: Mapping[str, tuple[str, str]]) -> list[list[str]]:
    return [
        [
            one.what,
            str(one.n),
            *(form.format(one.metrics[name]) if name in one.metrics else "" for name, (_, form) in columns.items()),
        ]
        for one in noise
    ]


def write_report(folder: Path, figures: Figures, layout: Layout, noise: Sequence[LabelNoise] = ()) -> tuple[Path, Path]:
    """Write `results.json` with the figures of every training, and `table.md`; return both."""
    content = {name: [_committed(result) for result in results] for name, results in vars(figures).items()}
    data, table = folder / RESULTS_FILE, folder / TABLE_FILE
    with atomic_path(data) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    with atomic_path(table) as temporary:
        temporary.write_text(markdown(figures, layout, noise), encoding="utf-8")
    return data, table


def read_report(folder: Path) -> Figures:
    """The figures of an earlier report; empty if there is none.

    Raises
    ------
    BenchmarkError
        If the file is not one of ours.
    """
    path = folder / RESULTS_FILE
    if not path.is_file():
        return Figures()
    try:
        return Figures(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise BenchmarkError(
            f"The results {path} cannot be read ({error}); move the file away, or write to another folder with --output."
        ) from error


def _committed(result: Result) -> dict[str, Any]:
    """A result without its folder and the names of the materials."""
    return {key: value for key, value in result.items() if key not in ("folder", "material_ids")}


def _seeds_row(group: Sequence[Result], layout: Layout, test_set: str) -> Row:
    scores = [_known(result["metrics"][test_set]) for result in group]
    common = [key for key in layout.columns if all(key in score for score in scores)]
    mean = {key: float(np.mean([score[key] for score in scores])) for key in common}
    spread = {key: float(np.std([score[key] for score in scores], ddof=1)) for key in common} if len(group) > 1 else {}
    trainings = [result["training"] for result in group if "training" in result]
    ends = [_intervals(result, test_set) for result in group]
    intervals = {
        key: np.mean([one[key] for one in ends], axis=0).tolist() for key in common if all(key in one for one in ends)
    }
    first = group[0]
    return Row(first["setting"], first["contender"], "seeds", len(group), mean, spread, _describe(trainings), intervals)


def _single_row(result: Result, kind: str, test_set: str) -> Row:
    scores = _known(result["metrics"][test_set])
    trainings = [result["training"]] if "training" in result else []
    n_members = result.get("n_members", 0)
    training = _describe(trainings) or (f"{result['n_train']:,}" if "n_train" in result else "")
    intervals = _intervals(result, test_set)
    return Row(result["setting"], result["contender"], kind, n_members, scores, {}, training, intervals)


def _intervals(result: Result, test_set: str) -> dict[str, Sequence[float]]:
    """Intervals of a result; earlier reports have none."""
    return dict(result.get("intervals", {}).get(test_set, {}))


def _describe(trainings: Sequence[dict[str, Any]]) -> str:
    """Data and duration of one of several trainings, with the median time."""
    if not trainings:
        return ""
    first, seconds = trainings[0], float(np.median([training["seconds"] for training in trainings]))
    device = f" {first['device']}" if "device" in first else ""
    return f"{first['materials']['train']:,} x {first['epochs']}, {seconds:.0f} s{device}"


def _known(scores: dict[str, float | None]) -> dict[str, float]:
    return {key: value for key, value in scores.items() if value is not None}
