"""`mat2spec benchmark phdos`: train what is missing of the phonon benchmark, print and write its table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.errors import resumable
from flows.settings_layers import SettingsRefusedError, load_model
from flows.terminal import console
from mat2spec.normalisation import Setting
from mat2spec.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mat2spec.benchmark.cells import BenchmarkData, Cell, Result, Spectra
    from mat2spec.benchmark.report import Row

EPOCHS_BETWEEN_LINES = 20


@dataclass(frozen=True)
class PhononBenchmark:
    """What to train and where it goes.

    Parameters
    ----------
    data
        Folder with the phonon tables.
    folder
        Where each training has its own folder.
    output
        Where results, table and plot go.
    models, settings, seeds
        The cells; lists separated by commas.
    assignments
        ``"key=value"`` of training settings for all cells.
    weights
        ``"NAME=FILE[,FILE...]"``: saved weights, or ensembles of them, that are judged too.
    plot
        ``"MODEL/SETTING"`` of the quintile plot; the line with the best blind R2 by default.
    """

    data: Path
    folder: Path
    output: Path
    models: str
    settings: str
    seeds: str
    assignments: Sequence[str] = ()
    weights: Sequence[str] = ()
    plot: str | None = None

    def cells(self) -> list[Cell]:
        """All cells that are asked for."""
        from mat2spec.benchmark.cells import make_cells
        from mat2spec.benchmark.recipes import find_recipes

        overrides = load_model(TrainingSettings, None, self.assignments).model_dump(exclude_unset=True)
        settings = [_setting(name) for name in _split(self.settings)]
        return make_cells(find_recipes(_split(self.models)), settings, _seeds(self.seeds), overrides)


def benchmark_phdos(benchmark: PhononBenchmark, *, only_report: bool = False) -> None:
    """Train what is missing, then report on all that is finished."""
    from mat2spec.benchmark.cells import BenchmarkData

    data = BenchmarkData(benchmark.data)
    if not only_report:
        train_cells(benchmark.cells(), data, benchmark.folder)
    report(benchmark, data)


def train_cells(cells: Sequence[Cell], data: BenchmarkData, folder: Path) -> None:
    """Train all cells that are neither finished nor in other hands; one line for each."""
    from mat2spec.benchmark.cells import BusyCellError, run_cell

    with resumable(str(folder)):
        for number, cell in enumerate(cells, start=1):
            try:
                result = run_cell(cell, data, folder, _reporter(cell))
            except BusyCellError as busy:
                console.print(f"[{number}/{len(cells)}] {busy} It is left out here.", markup=False)
                continue
            scores, seconds = result["metrics"]["test"], result["training"]["seconds"]
            console.print(
                f"[{number}/{len(cells)}] {cell.name}: R2 {scores['r2_blind']:.3f} (blind), "
                f"WD {scores['wasserstein_cm1']:.1f} cm-1, trained in {seconds} s",
                markup=False,
                highlight=False,
            )


def report(benchmark: PhononBenchmark, data: BenchmarkData) -> None:
    """Print the table of all finished cells, ensembles and given weights; write JSON, Markdown and picture.

    Figures of an earlier report in the same folder stay in the table unless they were made anew.
    """
    from mat2spec.benchmark.cells import read_results
    from mat2spec.benchmark.ensembles import ensemble_of_cells, evaluate_weights
    from mat2spec.benchmark.report import Figures, group_cells, make_rows, read_report, write_report

    cells = read_results(benchmark.folder)
    groups = [group for group in group_cells(cells).values() if len(group) > 1]
    ensembles = [ensemble_of_cells(group, data) for group in groups]
    weights = [evaluate_weights(*_named_files(text), data) for text in benchmark.weights]
    new = Figures(cells, [result for result, _ in ensembles], [result for result, _ in weights])
    figures = new.completed_by(read_report(benchmark.output))
    if not figures:
        console.print(f"No cell in {benchmark.folder} is finished, and no weights were given: nothing to report.")
        return
    _print_rows(make_rows(figures))
    if not new:
        return
    written = [*write_report(benchmark.output, figures), _plot(benchmark, data, cells, [*ensembles, *weights])]
    console.print("Written: " + ", ".join(str(path) for path in written), soft_wrap=True)


def _plot(
    benchmark: PhononBenchmark,
    data: BenchmarkData,
    cells: Sequence[Result],
    others: Sequence[tuple[Result, Spectra]],
) -> Path:
    from mat2spec.benchmark.cells import SPECTRA_FILE, read_spectra
    from mat2spec.benchmark.plots import draw_quintiles

    candidates = [*(result for result, _ in others), *cells]
    if benchmark.plot:
        candidates = [result for result in candidates if f"{result['contender']}/{result['setting']}" == benchmark.plot]
        if not candidates:
            raise ValueError(f"No finished cell is of '{benchmark.plot}'; write MODEL/SETTING of a line of the table.")
    best = max(candidates, key=lambda result: result["metrics"]["test"]["r2_blind"])
    saved = {id(result): spectra for result, spectra in others}
    spectra = saved[id(best)] if id(best) in saved else read_spectra(Path(best["folder"]) / SPECTRA_FILE)
    kind = f"seed {best['seed']}" if "seed" in best else f"{best['n_members']} trainings"
    path = benchmark.output / f"quintiles-{best['contender']}-{best['setting']}.png"
    title = f"{best['contender']}, {best['setting']}, {kind}"
    draw_quintiles(path, spectra["test"][0], data.judged(best["material_ids"]).part("test"), title)
    return path


def _print_rows(rows: Sequence[Row]) -> None:
    from rich.table import Table

    from mat2spec.benchmark.report import HEADER

    table = Table(*HEADER, title="Phonon benchmark, test materials")
    for row in rows:
        table.add_row(*row.cells(), style="dim" if row.kind == "paper" else None)
    width = max(console.width, 200)
    console.print(table, width=width, crop=False, no_wrap=True)


def _reporter(cell: Cell) -> Callable[[dict[str, float]], None]:
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
        raise SettingsRefusedError(f"There is no setting '{name}'; known are {', '.join(Setting)}.") from error


def _seeds(text: str) -> list[int]:
    words = _split(text)
    if not words or not all(word.isdecimal() for word in words):
        raise SettingsRefusedError(f"'{text}' are no seeds; write whole numbers separated by commas, e.g. 0,1,2.")
    return [int(word) for word in words]


def _named_files(text: str) -> tuple[str, list[Path]]:
    name, _, files = text.partition("=")
    paths = [Path(word) for word in _split(files)]
    if not name or not paths:
        raise SettingsRefusedError(f"'{text}' names no weights; write NAME=FILE or NAME=FILE,FILE for an ensemble.")
    return name, paths
