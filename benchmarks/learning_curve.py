"""Accuracy against the number of labels: tight binding and the networks on growing parts of the labels of the plan.

    MAT2SPEC_DATA_DIR=DATA python benchmarks/learning_curve.py FOLDER [--models tight-binding-mp,mat2spec,...] [--seeds 0,1]

A seed chooses the order in which labels are added and initialises the model. Test sets stay complete. Tight binding is
one member trained on these labels alone, with more epochs on fewer labels (13 for all, times the inverse square root of the
part); networks are trained as in the benchmark (sumnorm-kl). Finished trainings stay in FOLDER. Writes the rows of these
models in `benchmarks/learning_curve.csv`, draws `docs/learning_curve.png`, and prints the table.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from mat2spec.benchmark.recipes import find_recipes
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.labels.readers.data_folder import load_edos
from mat2spec.labels.splits import PLAN_TEST_SETS, Split
from mat2spec.models.checkpoints import read_card
from mat2spec.settings import Level
from mat2spec.tight_binding.model import TightBindingSettings
from mat2spec.training.learning_curve import Train, learning_curve
from mat2spec.training.runs import adapt_graphs, run_training
from mat2spec.training.settings import TrainingSettings
from mat2spec.training.tight_binding import TightBindingTraining
from mat2spec.training.tight_binding_runs import run_tight_binding

TIGHT_BINDING = "tight-binding-mp"
MODELS = (TIGHT_BINDING, "sitedos", "mat2spec", "gatgnn", "e3nn")
PARTS = (0.125, 0.25, 0.5, 1.0)
TABLE = Path("benchmarks/learning_curve.csv")
PICTURE = Path("docs/learning_curve.png")


def train_tight_binding(n_all: int, seed: int) -> Train:
    """Train one member of tight binding with spin."""

    def train(part: LabelledSpectra, folder: Path) -> tuple[Path, dict[str, dict[str, float | None]]]:
        plain = TightBindingTraining(model=TightBindingSettings(spin=True, n_members=1), seed=seed)
        epochs = round(plain.epochs * (n_all / n_training(part)) ** 0.5)
        weights = run_tight_binding(part, plain.model_copy(update={"epochs": epochs}), folder)
        return weights, read_card(weights).metrics

    return train


def recipe_of(network: str, seed: int) -> TrainingSettings:
    """How the benchmark trains a network on shapes."""
    recipe = find_recipes([network], "edos")[network]
    settings = {"model": recipe.model, "setting": "sumnorm-kl", "seed": seed, **recipe.training}
    return adapt_graphs(TrainingSettings.model_validate(settings))


def train_network(settings: TrainingSettings) -> Train:
    """Train a network."""

    def train(part: LabelledSpectra, folder: Path) -> tuple[Path, dict[str, dict[str, float | None]]]:
        weights = run_training(part, settings, folder)
        return weights, read_card(weights).metrics

    return train


def curve(model: str, seeds: Sequence[int], folder: Path) -> Iterator[dict[str, object]]:
    """Rows of the table for one model, trained where that is not done yet."""
    is_network = model != TIGHT_BINDING
    graphs = recipe_of(model, 0).graph if is_network else GraphSettings()
    data = load_edos(Path(os.environ["MAT2SPEC_DATA_DIR"]), graphs, None, Level.MP)
    sizes = {split: int((data.split == split).sum()) for split in PLAN_TEST_SETS}
    for seed in seeds:
        train = train_network(recipe_of(model, seed)) if is_network else train_tight_binding(n_training(data), seed)
        found = pd.DataFrame(learning_curve(data, PARTS, folder / f"{model}-{seed}", seed, train)[1])
        for n_train, part in found[found["split"].isin(PLAN_TEST_SETS)].groupby("n_train"):
            weights = [sizes[split] for split in part["split"]]
            random = part[part["split"] == Split.TEST_RANDOM].iloc[0]
            yield {
                "model": model,
                "seed": seed,
                "n_train": n_train,
                "n_test": sum(weights),
                "wasserstein": np.average(part["wasserstein"], weights=weights),
                "wasserstein_random": random["wasserstein"],
                "r2_random": random["r2"],
            }


def n_training(data: LabelledSpectra) -> int:
    """Number of training materials."""
    return int((data.split == Split.TRAIN).sum())


def with_others(table: pd.DataFrame) -> pd.DataFrame:
    """The rows, after those of other models that are written already."""
    if not TABLE.exists():
        return table
    written = pd.read_csv(TABLE)
    return pd.concat([written[~written["model"].isin(table["model"])], table], ignore_index=True)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Distance against number of labels, a line through the means of the seeds."""
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    for model, rows in table.groupby("model", sort=False):
        points = axes.plot(rows["n_train"], rows["wasserstein"], "o", alpha=0.5)[0]
        means = rows.groupby("n_train")["wasserstein"].mean()
        axes.plot(means.index, means.to_numpy(), color=points.get_color(), label=str(model))
    axes.set(xscale="log", yscale="log", xlabel="labels trained on", ylabel="Wasserstein distance / eV, test materials")
    axes.yaxis.set_minor_formatter("{x:.1f}")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train what is missing, write the table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the trainings are kept")
    parser.add_argument("--models", default=",".join(MODELS), help="by default %(default)s")
    parser.add_argument("--seeds", default="0,1")
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = list(map(int, given.seeds.split(",")))
    rows = [row for model in given.models.split(",") for row in curve(model, seeds, given.folder)]
    table = with_others(pd.DataFrame(rows).round(4))
    table.to_csv(TABLE, index=False)
    draw(table, PICTURE)
    means = table.groupby(["model", "n_train"], sort=False).mean(numeric_only=True).drop(columns="seed")
    print(means.round(3).to_string())


if __name__ == "__main__":
    main()
