"""`mat2spec train`: train a model on labelled spectra, or go on training it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flows.errors import resumable
from flows.settings_layers import load_model
from flows.terminal import console, stage_progress
from mat2spec.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TRAINING_RUNS = Path("runs")


def train(
    spectrum: Literal["phdos", "edos"],
    data: Path | None,
    folder: Path | None,
    config: Path | None,
    assignments: Sequence[str],
    *,
    pretraining: bool = True,
    encoder: Path | None = None,
    stores: Sequence[Path] | None = None,
) -> None:
    """Train and say where the weights are."""
    settings = load_model(TrainingSettings, config, assignments)
    folder = folder or TRAINING_RUNS / f"{settings.model}-{spectrum}-{settings.setting}"
    from mat2spec.training.runs import train_edos, train_phdos

    with stage_progress(f"Train on {spectrum}") as progress, resumable(str(folder)):
        on_epoch = _reporter(progress, settings.epochs)
        if spectrum == "edos":
            weights = train_edos(data, settings, folder, encoder, on_epoch, stores)
        else:
            assert data is not None, "The command line asks for the folder of the phonon tables."
            weights = train_phdos(data, settings, folder, pretraining, on_epoch)
    console.print(f"Weights: {weights}", soft_wrap=True)


def _reporter(progress: Callable[[int, int], None], n_epochs: int) -> Callable[[dict[str, float]], None]:
    def on_epoch(numbers: dict[str, float]) -> None:
        progress(int(numbers["epoch"]), n_epochs)
        console.log("  ".join(f"{name} {value:.5g}" for name, value in numbers.items()), highlight=False)

    return on_epoch
