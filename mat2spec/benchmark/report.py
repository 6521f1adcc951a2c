"""The table of a benchmark: mean and spread over seeds, ensembles, and the published figures beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mat2spec.benchmark.data import BenchmarkError, Result
from mat2spec.benchmark.layouts import Layout
from mat2spec.tables.files import atomic_path

PAPER = "paper"
RESULTS_FILE, TABLE_FILE = "results.json", "table.md"


@dataclass(frozen=True)
class Figures:
    """All that a table is made of.

    Parameters
    ----------
    cells
        Single trainings.
    ensembles
        Seeds of one model and setting together.
    weights
        Saved weights that were judged.
    """

    cells: Sequence[Result] = ()
    ensembles: Sequence[Result] = ()
    weights: Sequence[Result] = ()

    def __bool__(self) -> bool:
        return bool(self.cells or self.ensembles or self.weights)

    def completed_by(self, earlier: Figures) -> Figures:
        """These figures, and the earlier ones of models and settings that are not among them."""
        trained = {_model_and_setting(result) for result in self.cells}
        judged = {_model_and_setting(result) for result in self.weights}
        return Figures(
            [*self.cells, *(old for old in earlier.cells if _model_and_setting(old) not in trained)],
            [*self.ensembles, *(old for old in earlier.ensembles if _model_and_setting(old) not in trained)],
            [*self.weights, *(old for old in earlier.weights if _model_and_setting(old) not in judged)],
        )


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
        ``"seeds"``, ``"ensemble"``, ``"weights"`` or ``"paper"``.
    n_members
        Trainings behind it; 0 where not known.
    mean, spread
        Figures by name; a spread only where there are several seeds.
    training
        Spectra trained on, epochs and time of one training, in words; empty where not known.
    """

    setting: str
    contender: str
    kind: str
    n_members: int
    mean: dict[str, float]
    spread: dict[str, float]
    training: str = ""

    def cells(self, layout: Layout) -> list[str]:
        """The line as text, one entry per column."""
        who = {"seeds": f"{self.n_members}", "paper": PAPER}.get(self.kind, f"{self.kind} of {self.n_members}")
        numbers = (self._number(key, form) for key, (_, form) in layout.columns.items())
        return [self.setting, self.contender, who, self.training, *numbers]

    def _number(self, key: str, form: str) -> str:
        if key not in self.mean:
            return ""
        text = form.format(self.mean[key])
        return f"{text} +- {form.format(self.spread[key])}" if key in self.spread else text


def make_rows(figures: Figures, layout: Layout) -> list[Row]:
    """All lines, by setting, contender and kind, with the published one of each model and setting."""
    rows = [_seeds_row(group, layout) for group in group_cells(figures.cells).values()]
    rows += [_single_row(result, "ensemble") for result in figures.ensembles]
    rows += [_single_row(result, "weights") for result in figures.weights]
    shown = {row.setting for row in rows}
    for published in layout.published:
        if str(published.setting) in shown:
            rows.append(Row(str(published.setting), published.model, PAPER, 0, _known(published.scores()), {}))
    order = ("seeds", "ensemble", "weights", PAPER)
    return sorted(rows, key=lambda row: (row.setting, row.contender, order.index(row.kind)))


def group_cells(cells: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    """Results of each setting and contender, by seed."""
    ordered = sorted(cells, key=lambda result: (*_model_and_setting(result), result["seed"]))
    return {name: list(group) for name, group in groupby(ordered, _model_and_setting)}


def _model_and_setting(result: Result) -> tuple[str, str]:
    return result["setting"], result["contender"]


def markdown(rows: Sequence[Row], layout: Layout) -> str:
    """The table as Markdown, with what its columns mean."""
    head = ["| " + " | ".join(layout.header) + " |", "|---" * len(layout.header) + "|"]
    lines = [f"# {layout.title}", "", layout.explanation, *head]
    lines += ["| " + " | ".join(row.cells(layout)).replace("+-", "±") + " |" for row in rows]
    return "\n".join(lines) + "\n"


def write_report(folder: Path, figures: Figures, layout: Layout) -> tuple[Path, Path]:
    """Write `results.json` with the figures of every training, and `table.md`; return both."""
    content = {name: [_committed(result) for result in results] for name, results in vars(figures).items()}
    data, table = folder / RESULTS_FILE, folder / TABLE_FILE
    with atomic_path(data) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    with atomic_path(table) as temporary:
        temporary.write_text(markdown(make_rows(figures, layout), layout), encoding="utf-8")
    return data, table


def read_report(folder: Path) -> Figures:
    """The figures of a report that was written before; none without one.

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
    """A result without the folder it happens to lie in and the names of the materials, which are the data's."""
    return {key: value for key, value in result.items() if key not in ("folder", "material_ids")}


def _seeds_row(group: Sequence[Result], layout: Layout) -> Row:
    scores = [_known(result["metrics"]["test"]) for result in group]
    common = [key for key in layout.columns if all(key in score for score in scores)]
    mean = {key: float(np.mean([score[key] for score in scores])) for key in common}
    spread = {key: float(np.std([score[key] for score in scores], ddof=1)) for key in common} if len(group) > 1 else {}
    trainings = [result["training"] for result in group if "training" in result]
    return Row(group[0]["setting"], group[0]["contender"], "seeds", len(group), mean, spread, _describe(trainings))


def _single_row(result: Result, kind: str) -> Row:
    scores = _known(result["metrics"]["test"])
    trainings = [result["training"]] if "training" in result else []
    return Row(result["setting"], result["contender"], kind, result["n_members"], scores, {}, _describe(trainings))


def _describe(trainings: Sequence[dict[str, Any]]) -> str:
    """What one training of several saw, for how long; the median time."""
    if not trainings:
        return ""
    first, seconds = trainings[0], float(np.median([training["seconds"] for training in trainings]))
    return f"{first['materials']['train']:,} x {first['epochs']}, {seconds:.0f} s {first['device']}"


def _known(scores: dict[str, float | None]) -> dict[str, float]:
    return {key: value for key, value in scores.items() if value is not None}
