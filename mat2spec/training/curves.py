"""Curves of a training: a CSV file that is complete after every epoch, and a picture at the end."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mat2spec.tables.files import atomic_path

CURVES_FILE = "curves.csv"
PICTURE_FILE = "curves.png"
_NO_LOSS = frozenset({"epoch", "seconds"})

Line = dict[str, float]


def write_curves(folder: Path, history: Sequence[Line]) -> None:
    """Write one line per epoch; an interrupted training leaves the lines of the epochs from which it can resume."""
    if not history:
        return
    with atomic_path(folder / CURVES_FILE) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)


def read_curves(folder: Path) -> list[Line]:
    """Lines of the epochs so far; none if there is no file."""
    path = folder / CURVES_FILE
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def draw_curves(folder: Path, history: Sequence[Line], best_epoch: int) -> Path:
    """Picture of all loss terms over epochs, with the epoch whose weights are kept.

    Parameters
    ----------
    folder
        Where the picture goes.
    history
        What `write_curves` writes.
    best_epoch
        Number of the epoch, from one.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    epochs = [line["epoch"] for line in history]
    for name in (name for name in history[0] if name not in _NO_LOSS):
        style = {"color": "black", "linewidth": 1.8} if name == "valid" else {"linewidth": 1.0}
        axes.plot(epochs, [line[name] for line in history], label=name.replace("_", " "), **style)
    axes.axvline(best_epoch, color="grey", linestyle=":", label=f"best epoch {best_epoch}")
    if all(line[name] > 0 for line in history for name in line if name not in _NO_LOSS):
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("weighted loss")
    axes.legend(fontsize="small")
    with atomic_path(folder / PICTURE_FILE) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return folder / PICTURE_FILE
