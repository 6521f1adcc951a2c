"""The trainings of the benchmark: one folder and one result for each model, setting and seed.

A finished cell is never trained again, an interrupted one goes on at its last epoch, and one that
another process works at is left to it, so that several processes can share the work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from mat2spec.benchmark.evaluation import evaluate_phdos
from mat2spec.benchmark.recipes import Recipe
from mat2spec.datasets import LabelledSpectra, load_phdos, reserved_formulas
from mat2spec.files import atomic_path, file_sha256
from mat2spec.graphs import GraphSettings
from mat2spec.models import SpectrumModel, model_class
from mat2spec.normalisation import Setting
from mat2spec.prediction import SpectrumPredictor
from mat2spec.training.runs import run_training
from mat2spec.training.settings import TrainingSettings
from mat2spec.weights import WeightsCard, load_weights

RESULT_FILE = "result.json"
SPECTRA_FILE = "spectra.safetensors"
EVALUATED = ("valid", "test")
# These change how fast a cell is trained, not what it is.
NOT_IDENTITY = {"accelerator", "devices"}

EpochReport = Callable[[dict[str, float]], None]
Result = dict[str, Any]
Spectra = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


class BenchmarkError(RuntimeError):
    """The benchmark cannot go on; the message says why and what to do."""


class BusyCellError(BenchmarkError):
    """Another process trains this cell."""


@dataclass(frozen=True)
class Cell:
    """One training of the benchmark.

    Parameters
    ----------
    contender
        Name in the table: a recipe's.
    training
        How to train, with model, setting and seed.
    pretraining
        Whether the finite-displacement set is trained on too.
    """

    contender: str
    training: TrainingSettings
    pretraining: bool = False

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.contender}-{self.training.setting}-seed{self.training.seed}"

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for a result to be of this cell."""
        return {
            "pretraining": self.pretraining,
            **self.training.model_dump(mode="json", exclude=NOT_IDENTITY),
        }


def make_cells(
    recipes: dict[str, Recipe], settings: list[Setting], seeds: list[int], overrides: dict[str, Any] | None = None
) -> list[Cell]:
    """All cells, the first seed of every model first; `overrides` are fields of `TrainingSettings` for all.

    Sizes and loss weights of a recipe stay where the overrides do not name them.
    """
    given = overrides or {}
    cells = []
    for seed in seeds:
        for setting in settings:
            for name, recipe in recipes.items():
                fields = {**recipe.training, **given, "model": recipe.model, "setting": setting, "seed": seed}
                fields["model_settings"] = {
                    **recipe.training.get("model_settings", {}),
                    **given.get("model_settings", {}),
                }
                training = TrainingSettings.model_validate(fields)
                graph = model_class(recipe.model).adapt_graphs(training.graph)
                cells.append(Cell(name, training.model_copy(update={"graph": graph}), recipe.pretraining))
    return cells


class BenchmarkData:
    """Phonon spectra of the published split, read once for each kind of graphs.

    Materials of reserved formulas are not trained on.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._loaded: dict[tuple[GraphSettings, bool], LabelledSpectra] = {}

    def load(self, graph: GraphSettings, pretraining: bool = False) -> LabelledSpectra:
        """The spectra with graphs of these settings."""
        key = (graph, pretraining)
        if key not in self._loaded:
            self._loaded[key] = without_reserved(load_phdos(self.data_dir, graph, pretraining), self.data_dir)
        return self._loaded[key]

    def judged(self, material_ids: dict[str, list[str]], pretraining: bool = False) -> LabelledSpectra:
        """Training materials and just those held-out ones, in the order of the table; graphs are plain ones.

        Raises
        ------
        BenchmarkError
            If a material is not held out here.
        """
        data = self.load(GraphSettings(), pretraining)
        wanted = [name for split in EVALUATED for name in material_ids[split]]
        kept = np.isin(data.material_ids, wanted)
        if int(kept.sum()) != len(wanted) or (data.split[kept] == "train").any():
            raise BenchmarkError(
                f"A result is of other held-out materials than those of {self.data_dir}; use the data it was made with."
            )
        return data.take(np.flatnonzero(kept | (data.split == "train")))


def without_reserved(data: LabelledSpectra, data_dir: Path) -> LabelledSpectra:
    """The data without training materials of reserved formulas."""
    reserved = np.isin(data.formulas, list(reserved_formulas(data_dir))) & (data.split == "train")
    if not reserved.any():
        return data
    kept = data.take(np.flatnonzero(~reserved))
    return replace(kept, dropped={**data.dropped, "reserved formula": int(reserved.sum())})


def without_polymorphs(data: LabelledSpectra, split: str) -> NDArray[np.int64]:
    """Positions within a split of the materials whose reduced formula is not trained on."""
    trained = set(data.formulas[data.split == "train"])
    return np.flatnonzero([formula not in trained for formula in data.part(split).formulas])


def run_cell(cell: Cell, data: BenchmarkData, folder: Path, on_epoch: EpochReport | None = None) -> Result:
    """Train a cell, or read its result if it is finished.

    Raises
    ------
    BusyCellError
        If another process trains it.
    BenchmarkError
        If its folder holds the result of other settings.
    """
    place = folder / cell.name
    finished = read_result(place, cell)
    if finished is not None:
        return finished
    with _locked(place, cell):
        finished = read_result(place, cell)
        return finished if finished is not None else _train_cell(cell, data, place, on_epoch)


def read_result(place: Path, cell: Cell | None = None) -> Result | None:
    """The result in a folder, or None; refused if it is of other settings than those of the cell."""
    path = place / RESULT_FILE
    if not path.is_file():
        return None
    result: Result = json.loads(path.read_text(encoding="utf-8"))
    different = [] if cell is None else _differences(result["settings"], cell.identity)
    if different:
        raise BenchmarkError(
            f"{place} holds a cell that was trained with other settings ({', '.join(different)}); "
            "give another folder, or the same settings."
        )
    return result


def _differences(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Names of the settings that differ; one that a stored result does not know had its default."""
    stored = {**TrainingSettings().model_dump(mode="json", exclude=NOT_IDENTITY), **stored}
    return sorted(key for key in {*stored, *wanted} if stored.get(key) != wanted.get(key))


def read_results(folder: Path) -> list[Result]:
    """All finished cells of a folder, by name; each knows its `folder`."""
    places = sorted(path.parent for path in folder.glob(f"*/{RESULT_FILE}"))
    results = [(place, read_result(place)) for place in places]
    return [{**result, "folder": str(place)} for place, result in results if result is not None]


@contextmanager
def _locked(place: Path, cell: Cell) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(place / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise BusyCellError(f"Another process trains {cell.name}.") from error


def _train_cell(cell: Cell, data: BenchmarkData, place: Path, on_epoch: EpochReport | None) -> Result:
    labelled = data.load(cell.training.graph, cell.pretraining)
    weights = run_training(labelled, cell.training, place, None, on_epoch)
    model, card = load_weights(weights)
    spectra = predict_held_out(model, card, labelled)
    write_spectra(place / SPECTRA_FILE, spectra)
    result: Result = {
        "contender": cell.contender,
        "model": cell.training.model,
        "setting": str(cell.training.setting),
        "seed": cell.training.seed,
        "settings": cell.identity,
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training": card.training,
        "weights": {"file": weights.name, "sha256": file_sha256(weights)},
        "material_ids": held_out_ids(labelled),
        "metrics": evaluate_splits(spectra, labelled),
    }
    with atomic_path(place / RESULT_FILE) as temporary:
        temporary.write_text(json.dumps(result, indent=1, sort_keys=True), encoding="utf-8")
    return result


def held_out_ids(data: LabelledSpectra) -> dict[str, list[str]]:
    """Material ids of the held-out splits, in the order of their spectra."""
    return {split: [str(name) for name in data.part(split).material_ids] for split in EVALUATED}


def predict_held_out(model: SpectrumModel, card: WeightsCard, data: LabelledSpectra) -> Spectra:
    """Predicted spectra of the held-out splits and the standard deviation of their bins, NaN where unknown."""
    predictor = SpectrumPredictor(card.model, model, None, card.graph_settings, data.grid)
    spectra = {}
    for split in EVALUATED:
        part = data.part(split)
        prediction = predictor.predict_graphs(part.material_ids, part.graphs, [None] * len(part))
        spectra[split] = prediction.spectra.astype(np.float64), prediction.uncertainty.astype(np.float64)
    return spectra


def evaluate_splits(spectra: Spectra, data: LabelledSpectra) -> dict[str, dict[str, float | None]]:
    """Figures of merit of both held-out splits, and of the test materials without polymorphs in training."""
    metrics = {split: evaluate_phdos(*spectra[split], data.part(split)) for split in EVALUATED}
    own = without_polymorphs(data, "test")
    predicted, sigma = spectra["test"]
    return metrics | {
        "test_without_polymorphs": evaluate_phdos(predicted[own], sigma[own], data.part("test").take(own))
    }


def write_spectra(path: Path, spectra: Spectra) -> None:
    """Predicted spectra and uncertainties of the held-out splits, as float32."""
    arrays = {
        f"{split}_{kind}": np.ascontiguousarray(values, dtype=np.float32)
        for split, pair in spectra.items()
        for kind, values in zip(("spectra", "uncertainty"), pair, strict=True)
    }
    with atomic_path(path) as temporary:
        save_file(arrays, temporary)


def read_spectra(path: Path) -> Spectra:
    """What `write_spectra` wrote."""
    arrays = {name: values.astype(np.float64) for name, values in load_file(path).items()}
    return {split: (arrays[f"{split}_spectra"], arrays[f"{split}_uncertainty"]) for split in EVALUATED}
