"""The table of the phonon benchmark: mean and spread over seeds, ensembles, and the published figures beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mat2spec.benchmark.cells import BenchmarkError, Result
from mat2spec.benchmark.published import PUBLISHED
from mat2spec.files import atomic_path

PAPER = "paper"
RESULTS_FILE, TABLE_FILE = "results.json", "table.md"
COLUMNS = {
    "r2_blind": ("R2 blind", "{:.3f}"),
    "mae_blind": ("MAE blind", "{:.4f}"),
    "mse_blind": ("MSE blind", "{:.4f}"),
    "r2_modes": ("R2 3N", "{:.3f}"),
    "r2_oracle": ("R2 oracle", "{:.3f}"),
    "mae_oracle": ("MAE oracle", "{:.4f}"),
    "mse_oracle": ("MSE oracle", "{:.4f}"),
    "wasserstein_cm1": ("WD / cm-1", "{:.1f}"),
    "heat_capacity_mae": ("C_V MAE", "{:.2f}"),
    "mean_frequency_mae_cm1": ("mean freq. MAE", "{:.1f}"),
    "coverage_90": ("90 % coverage", "{:.2f}"),
    "error_rank_correlation": ("rank corr.", "{:.2f}"),
}
EXPLANATION = """\
Test materials of the published tutorial split of the DFPT phonon spectra (1,191 / 141 / 189), less training materials
of reserved formulas; `paper` rows: Table 1 of Kong et al., Nat. Commun. 13, 949 (2022), which is **another split**
(1,220 / 152 / 152) of the same data. Mean +- standard deviation over seeds; `ensemble` is the mean spectrum of the
seeds, with the spread of the seeds, calibrated on the validation materials, as uncertainty.

- **blind**: true and predicted curve each divided by its own maximum (the published y axis, maximum 1). Paper rows of
  maxnorm-mse are of this kind.
- **3N**: both curves with three modes per atom, states per cm-1 per atom: blind too, for 3N needs no label.
- **oracle**: predicted shape times the sum of the true curve of maximum 1. Uses the label's own sum, as the paper's
  rows of sumnorm-wd and sumnorm-kl do. Never compare it with a blind figure.
- WD: Wasserstein distance of curves that sum to one. C_V: Einstein function, 3N modes, 300 K, J/(K mol) per cell, from
  the 51-point curves. Mean frequency in cm-1. Coverage: share of bins within the 90 % interval (of one model: the
  residuals of validation materials). Rank correlation: Spearman's, of expected with true error of a spectrum.
"""


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
    """

    setting: str
    contender: str
    kind: str
    n_members: int
    mean: dict[str, float]
    spread: dict[str, float]

    def cells(self) -> list[str]:
        """The line as text, one entry per column."""
        who = {"seeds": f"{self.n_members}", "paper": PAPER}.get(self.kind, f"{self.kind} of {self.n_members}")
        return [self.setting, self.contender, who, *(self._number(key, form) for key, (_, form) in COLUMNS.items())]

    def _number(self, key: str, form: str) -> str:
        if key not in self.mean:
            return ""
        text = form.format(self.mean[key])
        return f"{text} +- {form.format(self.spread[key])}" if key in self.spread else text


HEADER = ["setting", "model", "seeds", *(title for title, _ in COLUMNS.values())]


def make_rows(figures: Figures) -> list[Row]:
    """All lines, by setting, contender and kind, with the published one of each model and setting."""
    rows = [_seeds_row(group) for group in group_cells(figures.cells).values()]
    rows += [_single_row(result, "ensemble") for result in figures.ensembles]
    rows += [_single_row(result, "weights") for result in figures.weights]
    shown = {row.setting for row in rows}
    for published in PUBLISHED:
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


def markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown, with what its columns mean."""
    lines = ["# Phonon benchmark", "", EXPLANATION, "| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
    lines += ["| " + " | ".join(row.cells()).replace("+-", "±") + " |" for row in rows]
    return "\n".join(lines) + "\n"


def write_report(folder: Path, figures: Figures) -> tuple[Path, Path]:
    """Write `results.json` with the figures of every training, and `table.md`; return both."""
    content = {name: [_committed(result) for result in results] for name, results in vars(figures).items()}
    data, table = folder / RESULTS_FILE, folder / TABLE_FILE
    with atomic_path(data) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    with atomic_path(table) as temporary:
        temporary.write_text(markdown(make_rows(figures)), encoding="utf-8")
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


def _seeds_row(group: Sequence[Result]) -> Row:
    scores = [_known(result["metrics"]["test"]) for result in group]
    common = [key for key in COLUMNS if all(key in score for score in scores)]
    mean = {key: float(np.mean([score[key] for score in scores])) for key in common}
    spread = {key: float(np.std([score[key] for score in scores], ddof=1)) for key in common} if len(group) > 1 else {}
    return Row(group[0]["setting"], group[0]["contender"], "seeds", len(group), mean, spread)


def _single_row(result: Result, kind: str) -> Row:
    scores = _known(result["metrics"]["test"])
    return Row(result["setting"], result["contender"], kind, result["n_members"], scores, {})


def _known(scores: dict[str, float | None]) -> dict[str, float]:
    return {key: value for key, value in scores.items() if value is not None}
