"""Train the student, a graph network, on what the teacher says, calibrate it on computed labels, and write its weights.

Two networks make a student as every other graph model: shapes (`sumnorm-kl`), and the scale (`standard-mae`), which asks for
less. Hypothetical crystals may be taught beside real ones, and computed labels that the teacher learned from stand among the taught
spectra several times. `--continue` begins with the shapes that ship, taught by an earlier teacher: a third of the epochs will do.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.graphs.building import build_graphs
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import LabelledSpectra, concatenate
from mat2spec.labels.readers import load_spectra
from mat2spec.labels.splits import Split
from mat2spec.models import SpectrumModel, build_model
from mat2spec.models.checkpoints import WeightsCard, read_weights, save_weights, tensors_hash, weights_name
from mat2spec.settings import SHIPPED_WEIGHTS_DIR, Level, Setting, shipped_stores
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.training.calibration import calibrate
from mat2spec.training.loop import TrainingState, train_model
from mat2spec.training.runs import evaluate_split, evaluated_splits
from mat2spec.training.settings import TrainingSettings
from scripts.distillation.population import Population
from scripts.distillation.sites import Sites
from scripts.distillation.teacher import KPOINTS_PER_ATOM

NAME = "student"
SIZES: dict[Setting, dict[str, Any]] = {
    Setting.SUMNORM_KL: {
        "encoder": {"width": 128, "n_layers": 4, "n_heads": 4},
        "dropout": 0.05,
        "wasserstein_weight": 0.1,
    },
    Setting.STANDARD_MAE: {"encoder": {"width": 64, "n_layers": 2, "n_heads": 4}, "dropout": 0.05},
}
_PER_TASK = 500
# Taught crystals that say where the student is at home.
_DOMAIN = 3000
# How often a computed label stands among the taught spectra.
_LABEL_COPIES = 4


class _Part(NamedTuple):
    """Graphs as plain arrays, which pass from process to process without shared memory."""

    ptr: NDArray[np.int64]
    edges: NDArray[np.int64]
    attributes: dict[str, NDArray[np.generic]]
    problems: list[str | None]


def _graphs(crystals: Crystals) -> _Part:
    graphs, problems = build_graphs(crystals, GraphSettings())
    attributes = {name: value.numpy() for name, value in graphs.own_attributes().items()}
    return _Part(graphs.ptr.numpy(), np.ascontiguousarray(graphs.edges.numpy()), attributes, problems)


def build_side_by_side(crystals: Crystals, n_processes: int) -> tuple[CrystalGraphs, list[str | None]]:
    """`build_graphs` for many crystals."""
    starts = range(0, len(crystals), _PER_TASK)
    tasks = [crystals.take(np.arange(start, min(start + _PER_TASK, len(crystals)))) for start in starts]
    with ProcessPoolExecutor(n_processes) as pool:
        parts = list(pool.map(_graphs, tasks))
    graphs = [
        CrystalGraphs.join(
            torch.from_numpy(part.ptr),
            torch.from_numpy(part.edges),
            **{name: torch.from_numpy(values) for name, values in part.attributes.items()},
        )
        for part in parts
    ]
    return CrystalGraphs.concatenate(graphs), [problem for part in parts for problem in part.problems]


def taught_spectra(population: Population, sites: Sites, taught: Path, n_processes: int) -> LabelledSpectra:
    """What the teacher said of which crystals, on their primitive cells."""
    with np.load(taught) as file:
        index, spectra = file["index"], file["spectra"].astype(np.float32)
    cells = [cell for cell in (sites.cells[i] for i in index) if cell is not None]
    crystals = Crystals(
        population.crystals.material_ids[index],
        np.concatenate([cell.atomic_numbers for cell in cells]),
        np.concatenate([cell.frac_coords for cell in cells]),
        np.stack([cell.lattice for cell in cells]),
        np.concatenate([[0], np.cumsum([cell.n_atoms for cell in cells])]),
    )
    graphs, problems = build_side_by_side(crystals, n_processes)
    usable = np.array([problem is None for problem in problems]) & np.isfinite(spectra).all(axis=1)
    data = LabelledSpectra(
        f"{usable.sum()} spectra of tight-binding-mp with {KPOINTS_PER_ATOM:g} k-points per atom",
        crystals.material_ids,
        population.formulas[index].astype(object),
        graphs,
        spectra,
        population.split[index].astype(object),
        EDOS_GRID,
        {},
        {},
    )
    return data.take(np.flatnonzero(usable & (spectra.sum(axis=1) > 0)))


def with_labels(taught: list[LabelledSpectra], labels: LabelledSpectra) -> LabelledSpectra:
    """All that a student learns from; labels that hold out or test are not among it."""
    learned = labels.part(Split.TRAIN)
    name = "; ".join([*(part.name for part in taught), f"{len(learned)} computed labels {_LABEL_COPIES} times"])
    return concatenate([*taught, *[learned] * _LABEL_COPIES], name)


def training_settings(setting: Setting, epochs: int, learning_rate: float) -> TrainingSettings:
    """How the student is trained."""
    return TrainingSettings(
        model=NAME,
        setting=setting,
        model_settings=SIZES[setting],
        epochs=epochs,
        batch_size=128,
        learning_rate=learning_rate,
        schedule="cosine",
        weight_decay=1e-3,
    )


def finish(
    model: SpectrumModel,
    taught: LabelledSpectra,
    labels: LabelledSpectra,
    settings: TrainingSettings,
    state: TrainingState,
    begun_with: str,
) -> Path:
    """Calibrate on computed labels, with the domain of the taught crystals, measure and write; the card says all of it."""
    train = np.flatnonzero(taught.split == Split.TRAIN)
    some = np.sort(np.random.default_rng(0).permutation(train)[:_DOMAIN])
    calibrate(model, labels, taught.take(some))
    card = WeightsCard(
        model=NAME,
        setting=settings.setting,
        model_settings=model.settings.model_dump(mode="json"),
        graph_settings=settings.graph,
        grid=EDOS_GRID.to_json(),
        training={
            "data": taught.name,
            "begun_with": begun_with,
            "materials": {"train": len(train), "valid": int((taught.split == Split.VALID).sum())},
            "calibrated_on": int((labels.split == Split.CALIBRATION).sum()),
            "best_epoch": state.best_epoch,
            "epochs": state.epoch,
            "seconds": round(state.seconds),
            "settings": settings.model_dump(mode="json", exclude={"model_settings", "graph"}),
        },
        metrics={split: evaluate_split(model, labels.part(split)) for split in evaluated_splits(labels)},
    )
    path = SHIPPED_WEIGHTS_DIR / weights_name(NAME, EDOS_GRID.name, settings.setting)
    save_weights(path, model, card)
    return path


def main() -> None:
    """Train both networks and write them to the shipped weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data folder, with the structures of the labels")
    parser.add_argument("population", type=Path)
    parser.add_argument("folder", type=Path, help="with the described sites; checkpoints go there")
    parser.add_argument("taught", type=Path)
    parser.add_argument("--hypothetical", nargs=3, type=Path, metavar=("POPULATION", "FOLDER", "TAUGHT"))
    parser.add_argument("--epochs", type=int, default=35)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--settings", nargs="+", type=Setting, choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--continue", dest="continues", action="store_true", help="begin with the weights that ship")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    sources = [(given.population, given.folder, given.taught), *([given.hypothetical] if given.hypothetical else [])]
    parts = [taught_spectra(Population.load(a), Sites.load(b), c, given.processes) for a, b, c in sources]
    labels = load_spectra(given.data, "edos", GraphSettings(), stores=shipped_stores(), reserved=set(), level=Level.MP)
    taught = with_labels(parts, labels)
    for setting in given.settings:
        settings = training_settings(setting, given.epochs, given.learning_rate)
        torch.manual_seed(settings.seed)
        model = build_model(NAME, SIZES[setting], EDOS_GRID.size, setting)
        begun_with = "nothing"
        if given.continues:
            card, tensors = read_weights(SHIPPED_WEIGHTS_DIR / weights_name(NAME, EDOS_GRID.name, setting))
            model.load_state_dict(tensors)
            begun_with = f"weights {tensors_hash(tensors)}, taught by {card.training['data']}"
        folder = given.folder / f"{NAME}-{setting}"
        folder.mkdir(parents=True, exist_ok=True)
        state = train_model(model, taught, settings, folder, f"{taught.name} {setting}", print)
        print(finish(model, taught, labels, settings, state, begun_with))


if __name__ == "__main__":
    main()
