"""`mat2spec benchmark`: train what is missing of a benchmark, print and write its table."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
from rich.console import Console
from rich.table import Column, Table

from flows.commands.exits import resumable
from flows.commands.terminal import console
from flows.settings_layers import SettingsRefusedError, load_model
from mat2spec.benchmark.cells import BusyCellError, make_cells, read_results, run_cell
from mat2spec.benchmark.data import BenchmarkError, ElectronData, PhononData
from mat2spec.benchmark.ensembles import (
    evaluate_force_constants,
    evaluate_weights,
    judge_baselines,
    judge_cells,
    judge_ensembles,
)
from mat2spec.benchmark.error_figures import chosen_rows, draw_error_figures, error_tables, summarise_errors
from mat2spec.benchmark.error_table import ERRORS_FILE, error_table, write_error_table
from mat2spec.benchmark.label_noise import read_label_noise
from mat2spec.benchmark.layouts import LAYOUTS
from mat2spec.benchmark.plots import draw_quintiles
from mat2spec.benchmark.recipes import find_recipes
from mat2spec.benchmark.report import BASELINE, Figures, group_cells, heading, make_rows, read_report, write_report
from mat2spec.benchmark.test_sets import in_order
from mat2spec.labels.reserved import known_reserved_formulas
from mat2spec.models.checkpoints import weights_name
from mat2spec.prediction import shipped_weights
from mat2spec.settings import (
    FORCE_CONSTANTS_MODEL,
    PHDOS_MODELS,
    SHIPPED_STORE,
    SHIPPED_WEIGHTS_DIR,
    Level,
    shipped_stores,
)
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID
from mat2spec.spectra.normalisation import Setting
from mat2spec.tables.files import atomic_path
from mat2spec.tight_binding.predictor import MODEL_NAMES as TIGHT_BINDING_MODELS
from mat2spec.training.settings import TrainingSettings
from screening.evaluate.gap_scores import find_gapped_metals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mat2spec.benchmark.cells import BenchmarkCell
    from mat2spec.benchmark.data import BenchmarkData, Result
    from mat2spec.benchmark.ensembles import Judged
    from mat2spec.benchmark.layouts import Layout

EPOCHS_BETWEEN_LINES = 20
# The tables are wider than most terminals; their lines are not truncated.
TABLE_WIDTH = 320
ERROR_TABLES_FILE = "errors.md"


@dataclass(frozen=True)
class Benchmark:
    """What to train and where it goes.

    Parameters
    ----------
    spectrum
        Kind of spectrum.
    source
        Labelled spectra: data folder, archive of the paper, folder of structures and spectra, Parquet table.
    folder
        Where each training has its own folder.
    output
        Where results, tables and plot go.
    models, settings, seeds
        The cells; comma-separated lists.
    assignments
        ``"key=value"`` of training settings for all cells.
    weights
        ``"NAME=FILE[,FILE...]"``: saved weights, or ensembles of them, to evaluate as well.
    shipped
        Whether to evaluate the shipped weights as well.
    plot
        ``"MODEL/SETTING"`` of the quintile plot; the line with the best R2 by default.
    stores
        eDOS stores beside a data folder.
    level
        Level of theory of electronic labels.
    """

    spectrum: Literal["phdos", "edos"]
    source: Path | None
    folder: Path
    output: Path
    models: str
    settings: str
    seeds: str
    assignments: Sequence[str] = ()
    weights: Sequence[str] = ()
    shipped: bool = False
    plot: str | None = None
    stores: Sequence[Path] | None = None
    level: Level = Level.UNPOLARISED

    def cells(self) -> list[BenchmarkCell]:
        """All cells of the benchmark."""
        overrides = load_model(TrainingSettings, None, self.assignments).model_dump(exclude_unset=True)
        settings = [_setting(name) for name in _split(self.settings)]
        recipes = find_recipes(_split(self.models), self.spectrum)
        return make_cells(recipes, settings, _seeds(self.seeds), overrides)

    def model_names(self) -> list[str]:
        """The models."""
        return _split(self.models)

    def first_seed(self) -> int:
        """The first of the seeds."""
        return _seeds(self.seeds)[0]

    def data(self) -> BenchmarkData:
        """The labelled spectra, and how their predictions are scored."""
        folder = os.environ.get("MAT2SPEC_DATA_DIR")
        reserved = known_reserved_formulas(Path(folder) if folder else None)
        if self.spectrum == "phdos":
            return PhononData(self.source, reserved)
        return ElectronData(self.source, reserved, self.stores, find_gapped_metals, self.level)

    def saved_weights(self) -> dict[str, list[Path]]:
        """Files of all saved weights to evaluate, by name."""
        shipped = (shipped_weights(self.spectrum) | self._shipped_tight_binding()) if self.shipped else {}
        return {f"shipped-{model}": files for model, files in shipped.items()} | dict(map(_named_files, self.weights))

    def networks(self) -> list[Path]:
        """Those of saved weights to which the force constants of a potential are added."""
        is_asked = self.shipped and self.spectrum == PHDOS_GRID.name
        return shipped_weights(self.spectrum)[PHDOS_MODELS[0]] if is_asked else []

    def _shipped_tight_binding(self) -> dict[str, list[Path]]:
        if self.spectrum != EDOS_GRID.name:
            return {}
        paths = {
            name: SHIPPED_WEIGHTS_DIR / weights_name(name, self.spectrum, Setting.SUMNORM_KL)
            for name in TIGHT_BINDING_MODELS
        }
        return {name: [path] for name, path in paths.items() if path.is_file()}

    def layout(self) -> Layout:
        """How its table looks."""
        return LAYOUTS[self.spectrum]


def compared_stores(given: Sequence[Path], level: Level) -> list[Path]:
    """The eDOS stores of a benchmark: the given ones, and those that ship with the project.

    Without spin the shipped labels are those from before the label plan alone, on which older figures stand too; the plan's
    are judged at their own level.
    """
    shipped = shipped_stores()
    return [*(shipped if level is Level.MP else [store for store in shipped if store == SHIPPED_STORE]), *given]


def run_benchmark(benchmark: Benchmark, *, only_report: bool = False) -> None:
    """Train what is missing, then report everything finished."""
    data = benchmark.data()
    if not only_report:
        train_cells(benchmark.cells(), data, benchmark.folder)
    report(benchmark, data)


def train_cells(cells: Sequence[BenchmarkCell], data: BenchmarkData, folder: Path) -> None:
    """Train all cells that are neither finished nor being trained elsewhere; one line for each."""
    with resumable(str(folder)):
        for number, cell in enumerate(cells, start=1):
            try:
                result = run_cell(cell, data, folder, _reporter(cell))
            except BusyCellError as busy:
                console.print(f"[{number}/{len(cells)}] {busy} It is skipped here.", markup=False)
                continue
            scores, seconds = _first_scores(result), result["training"]["seconds"]
            known = {name: scores[name] for name in ("r2_blind", "r2_oracle") if scores.get(name) is not None}
            figures = ", ".join(f"{name} {value:.3f}" for name, value in known.items())
            console.print(
                f"[{number}/{len(cells)}] {cell.name}: {figures}, trained in {seconds} s", markup=False, highlight=False
            )


def report(benchmark: Benchmark, data: BenchmarkData) -> None:
    """Print the tables of all finished cells, ensembles, given weights and baselines; write JSON, Markdown and picture.

    Figures of an earlier report in the same folder stay in the tables unless they were computed again.
    """
    finished = read_results(benchmark.folder)
    cells = judge_cells(finished, data)
    ensembles = judge_ensembles(group_cells(finished), data)
    weights = [evaluate_weights(name, files, data) for name, files in benchmark.saved_weights().items()]
    weights += [
        evaluate_force_constants(f"shipped-{FORCE_CONSTANTS_MODEL}", path, data) for path in benchmark.networks()
    ]
    new = Figures(_results(cells), _results(ensembles), _results(weights), judge_baselines(data))
    figures = new.completed_by(read_report(benchmark.output))
    layout = benchmark.layout()
    _print_tables(figures, layout)
    written = [*write_report(benchmark.output, figures, layout, read_label_noise(benchmark.output))]
    if cells or weights:
        written.append(_write_errors(benchmark, data, [*cells, *ensembles, *weights]))
        written.append(_plot(benchmark, data, [*ensembles, *weights, *cells]))
    else:
        console.print(
            f"No training in {benchmark.folder} is finished and no weights were given: only baselines are shown."
        )
    console.print("Written: " + ", ".join(str(path) for path in written), soft_wrap=True)


def draw_errors(errors: Path, output: Path, models: str, test_set: str | None) -> None:
    """Draw the figures of a table of errors and write their numbers as Markdown.

    Parameters
    ----------
    errors
        The table that a benchmark writes.
    output
        Where the pictures and `errors.md` go.
    models
        ``"MODEL/SETTING"``, separated by commas; all if empty.
    test_set
        One of the table's; its first by default.
    """
    rows = chosen_rows(read_errors(errors), test_set, _split(models))
    summary = summarise_errors(rows)
    written = draw_error_figures(output, summary)
    with atomic_path(output / ERROR_TABLES_FILE) as temporary:
        temporary.write_text(error_tables(summary), encoding="utf-8")
    console.print(
        f"Written: {', '.join(map(str, [*written, output / ERROR_TABLES_FILE]))}", soft_wrap=True, highlight=False
    )


def read_errors(path: Path) -> pd.DataFrame:
    """A table of errors.

    Raises
    ------
    BenchmarkError
        If there is none.
    """
    if not path.is_file():
        raise BenchmarkError(f"There is no table {path}; mat2spec benchmark edos or phdos writes it.")
    return pd.read_parquet(path)


def _results(judged: Sequence[Judged]) -> list[Result]:
    return [one.result for one in judged]


def _write_errors(benchmark: Benchmark, data: BenchmarkData, judged: Sequence[Judged]) -> Path:
    path = benchmark.output / ERRORS_FILE
    write_error_table(path, error_table(judged, data))
    return path


def _plot(benchmark: Benchmark, data: BenchmarkData, candidates: Sequence[Judged]) -> Path:
    if benchmark.plot:
        candidates = [one for one in candidates if _name(one) == benchmark.plot]
        if not candidates:
            raise ValueError(
                f"No finished training matches '{benchmark.plot}'; give MODEL/SETTING as in a row of the table."
            )
    best, spectra, _ = max(candidates, key=_goodness)
    kind = f"seed {best['seed']}" if "seed" in best else f"{best['n_members']} trainings"
    path = benchmark.output / f"quintiles-{best['contender']}-{best['setting']}.png"
    title = f"{best['contender']}, {best['setting']}, {kind}"
    first = in_order(spectra)[0]
    draw_quintiles(path, spectra[first][0], data.judged(best["material_ids"]).part(first), title)
    return path


def _name(judged: Judged) -> str:
    return f"{judged.result['contender']}/{judged.result['setting']}"


def _goodness(judged: Judged) -> float:
    """R2 with the label's scale, which every kind of model has."""
    return float(_first_scores(judged.result)["r2_oracle"] or float("-inf"))


def _first_scores(result: Result) -> dict[str, float]:
    """Scores on the first test set."""
    metrics: dict[str, dict[str, float]] = result["metrics"]
    return metrics[in_order(metrics)[0]]


def _print_tables(figures: Figures, layout: Layout) -> None:
    styles = {"paper": "dim", BASELINE: "italic"}
    for test_set in figures.test_sets:
        columns = (Column(title, no_wrap=True) for title in layout.header)
        table = Table(*columns, title=f"{layout.title}: {heading(figures, test_set)}")
        for row in make_rows(figures, layout, test_set):
            table.add_row(*row.cells(layout, before_interval="\n"), style=styles.get(row.kind))
        Console(width=max(console.width, TABLE_WIDTH)).print(table, crop=False)


def _reporter(cell: BenchmarkCell) -> Callable[[dict[str, float]], None]:
    def on_epoch(numbers: dict[str, float]) -> None:
        epoch, epochs = int(numbers["epoch"]), cell.training.epochs
        if epoch % EPOCHS_BETWEEN_LINES == 0 or epoch == epochs:
            left = numbers["seconds"] / epoch * (epochs - epoch)
            console.log(
                f"{cell.name}  epoch {epoch}/{epochs}  valid {numbers['valid']:.5g}  {left:.0f} s left", highlight=False
            )

    return on_epoch


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _setting(name: str) -> Setting:
    try:
        return Setting(name)
    except ValueError as error:
        raise SettingsRefusedError(f"Unknown setting '{name}'; choose from {', '.join(Setting)}.") from error


def _seeds(text: str) -> list[int]:
    words = _split(text)
    if not words or not all(word.isdecimal() for word in words):
        raise SettingsRefusedError(f"Cannot read the seeds '{text}'; write integers separated by commas, e.g. 0,1,2.")
    return [int(word) for word in words]


def _named_files(text: str) -> tuple[str, list[Path]]:
    name, _, files = text.partition("=")
    paths = [Path(word) for word in _split(files)]
    if not name or not paths:
        raise SettingsRefusedError(
            f"Cannot read the weights '{text}'; write NAME=FILE, or NAME=FILE,FILE for an ensemble."
        )
    return name, paths
