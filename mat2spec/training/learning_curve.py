"""Learning curves: the same training on growing parts of the data."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mat2spec.labels.labelled import DataError, LabelledSpectra
from mat2spec.tables.files import atomic_path

CURVE_FILE = "learning_curve.csv"
PICTURE_FILE = "learning_curve.png"
# Metrics shown in the picture if available, with their axis labels.
_SHOWN = {"mae": "MAE", "wasserstein": "Wasserstein distance", "r2": "$R^2$"}

Train = Callable[[LabelledSpectra, Path], tuple[Path, dict[str, dict[str, float | None]]]]


def learning_curve(
    data: LabelledSpectra, fractions: Sequence[float], folder: Path, seed: int, train: Train
) -> tuple[Path, list[dict[str, Any]]]:
    """Train on parts of the training split; the validation and test splits stay complete.

    Smaller parts are subsets of larger ones. Each training has its own folder, so an interrupted curve
    resumes with what is missing.

    Parameters
    ----------
    data
        All data.
    fractions
        Parts of the training split, each above 0 and at most 1.
    folder
        Where the trainings, `learning_curve.csv` and `learning_curve.png` go.
    seed
        Of the order in which materials are added.
    train
        Trains on given data in a given folder; returns the weights and their metrics by split.

    Returns
    -------
    pathlib.Path
        Weights of the largest part.
    list of dict
        One row per part and split: `fraction`, `n_train`, `split` and the metrics.

    Raises
    ------
    DataError
        If a fraction is not above 0 and at most 1.
    """
    wanted = sorted(set(fractions))
    if not wanted or wanted[0] <= 0 or wanted[-1] > 1:
        raise DataError("The parts of a learning curve must be numbers above 0 and at most 1, e.g. 0.1,0.25,0.5,1.")
    weights = folder
    rows: list[dict[str, Any]] = []
    for fraction in wanted:
        part = training_part(data, fraction, seed)
        weights, metrics = train(part, folder / f"part-{fraction:g}")
        n_train = int((part.split == "train").sum())
        rows += [
            {"fraction": fraction, "n_train": n_train, "split": split, **values} for split, values in metrics.items()
        ]
        _write(folder / CURVE_FILE, rows)
    _draw(folder / PICTURE_FILE, rows)
    return weights, rows


def training_part(data: LabelledSpectra, fraction: float, seed: int) -> LabelledSpectra:
    """The data with a part of the training split, at least two materials."""
    training = np.flatnonzero(data.split == "train")
    order = np.random.default_rng(seed).permutation(training)
    kept = np.concatenate([order[: max(2, round(fraction * len(order)))], np.flatnonzero(data.split != "train")])
    return replace(data.take(np.sort(kept)), name=f"{data.name}, {fraction:.4g} of the training split")


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=names)
        writer.writeheader()
        writer.writerows(rows)


def _draw(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    shown = [name for name in _SHOWN if any(name in row for row in rows)]
    figure = Figure(figsize=(4 * max(1, len(shown)), 3.5), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, max(1, len(shown)))), shown, strict=False):
        for split in dict.fromkeys(row["split"] for row in rows):
            points = [
                (row["n_train"], row[name]) for row in rows if row["split"] == split and row.get(name) is not None
            ]
            axes.plot(*zip(*points, strict=True), marker="o", label=split)
        axes.set_xscale("log")
        axes.set_xlabel("materials trained on")
        axes.set_ylabel(_SHOWN[name])
        axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
