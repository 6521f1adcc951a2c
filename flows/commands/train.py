"""`mat2spec train`: train a model on labelled spectra, or resume its training."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from flows.commands.exits import resumable
from flows.commands.terminal import console
from flows.settings_layers import SettingsRefusedError, load_model, validate
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.readers.data_folder import load_edos
from mat2spec.settings import Level, shipped_stores
from mat2spec.tight_binding.predictor import MODEL_NAME
from mat2spec.training import runs
from mat2spec.training.options import TrainingOptions
from mat2spec.training.settings import TrainingSettings
from mat2spec.training.tight_binding import TightBindingTraining
from mat2spec.training.tight_binding_runs import run_tight_binding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mat2spec.training.options import TrainingOptions

    Reporter = Callable[[dict[str, float]], None]

TRAINING_RUNS = Path("runs")


def train(
    spectrum: Literal["phdos", "edos"],
    data: Path | None,
    folder: Path | None,
    config: Path | None,
    assignments: Sequence[str],
    *,
    options: TrainingOptions | None = None,
    **given: Any,
) -> None:
    """Train and say where the weights are.

    Parameters
    ----------
    spectrum
        Kind of spectrum.
    data
        Source; None for eDOS stores alone.
    folder
        Where checkpoint, curves and weights go; in `runs/` if not given.
    config, assignments
        Settings of the training.
    options
        Fine-tuning, a class of materials, a learning curve.
    given
        Further arguments of `mat2spec.training.runs.train_edos` or `train_phdos`.
    """
    settings = load_model(TrainingSettings, config, assignments)
    folder = folder or _default_folder(spectrum, settings, options)
    run: Callable[..., Path] = runs.train_edos if spectrum == "edos" else runs.train_phdos
    with training_progress(f"Train on {spectrum}", settings.epochs) as on_epoch, resumable(str(folder)):
        weights = run(data, settings, folder, on_epoch=on_epoch, options=options, **given)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # with several devices, this runs in every process
        console.print(f"Weights: {weights}", soft_wrap=True)
        console.print(f"Curves: {weights.parent / 'curves.png'}", soft_wrap=True)


def train_tight_binding(
    data: Path | None,
    folder: Path | None,
    config: Path | None,
    assignments: Sequence[str],
    stores: Sequence[Path],
    level: Level,
) -> None:
    """Train learned tight binding and say where the weights are.

    Parameters
    ----------
    data
        Source; None for eDOS stores alone.
    folder
        Where the state of each member and the weights go; in `runs/` if not given.
    config, assignments
        Fields of `TightBindingTraining`.
    stores
        Further eDOS stores to train on.
    level
        Level of theory of the labels. At that of the Materials Project the model has spin and also learns from
        unpolarised labels, which it solves without spin.
    """
    settings = load_model(TightBindingTraining, config, assignments)
    folder = folder or TRAINING_RUNS / f"{MODEL_NAME}-{level}"
    labels = load_edos(data, GraphSettings(), stores, level)
    unpolarised = None
    if level is Level.MP:
        settings = settings.model_copy(update={"model": settings.model.model_copy(update={"spin": True})})
        unpolarised = load_edos(data, GraphSettings(), stores, Level.UNPOLARISED)
    torch.set_num_threads(1)  # the matrices are too small to be shared between cores
    with training_progress("Train tight binding", settings.epochs) as on_epoch, resumable(str(folder)):
        weights = run_tight_binding(labels, settings, folder, on_epoch, unpolarised)
    console.print(f"Weights: {weights}", soft_wrap=True)


def training_options(
    fine_tune_from: Path | None,
    learning_curve: str | None,
    elements: str | None,
    exclude_elements: str | None,
    **others: Any,
) -> TrainingOptions:
    """Training options from the words of the command line; lists are separated by commas."""
    subclass = {name: others.pop(name) for name in ("n_elements", "space_group")}
    words = {
        "fine_tune_from": fine_tune_from,
        "fractions": _numbers(learning_curve),
        "subclass": {"elements": _split(elements), "exclude_elements": _split(exclude_elements), **subclass},
        "reserved_from": os.environ.get("MAT2SPEC_DATA_DIR") or None,
        **others,
    }
    return validate(TrainingOptions, words)


def edos_stores(given: Sequence[Path], *, shipped: bool = True) -> list[Path]:
    """The eDOS stores to train on: the given ones, and those that ship with the project."""
    return [*(shipped_stores() if shipped else []), *given]


def _default_folder(spectrum: str, settings: TrainingSettings, options: TrainingOptions | None) -> Path:
    if options is not None and options.fine_tune_from is not None:
        return TRAINING_RUNS / f"{options.fine_tune_from.stem}-fine-tuned"
    name = f"{settings.model}-{spectrum}-{settings.setting}"
    if options is not None and options.level is not Level.UNPOLARISED:
        name = f"{name}-{options.level}"
    return TRAINING_RUNS / name


def _split(words: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (words or "").split(",") if word.strip())


def _numbers(words: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in _split(words))
    except ValueError as error:
        raise SettingsRefusedError(
            f"Cannot read the learning curve '{words}'; write fractions separated by commas, e.g. 0.1,0.25,0.5,1."
        ) from error


@contextmanager
def training_progress(title: str, n_epochs: int) -> Iterator[Reporter]:
    """Progress bar with the remaining time and a line per epoch; early stopping may end it sooner."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns,
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(title, total=n_epochs)

        def on_epoch(numbers: dict[str, float]) -> None:
            bar.update(task, completed=int(numbers["epoch"]))
            console.log(epoch_line(numbers, n_epochs), highlight=False)

        yield on_epoch


def epoch_line(numbers: dict[str, float], n_epochs: int) -> str:
    """Figures of an epoch, and the time left unless it stops early.

    Examples
    --------
    >>> epoch_line({"epoch": 2, "valid": 0.5, "seconds": 10}, 8)
    'epoch 2/8  valid 0.5  10 s  0:00:30 left'
    """
    epoch, seconds = int(numbers["epoch"]), numbers.get("seconds", 0.0)
    losses = [f"{name} {value:.5g}" for name, value in numbers.items() if name not in {"epoch", "seconds"}]
    left = timedelta(seconds=round(seconds / epoch * (n_epochs - epoch)))
    return "  ".join([f"epoch {epoch}/{n_epochs}", *losses, f"{seconds:.0f} s", f"{left} left"])
