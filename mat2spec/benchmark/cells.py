"""The trainings of the benchmark: one folder and one result for each model, setting and seed.

Finished cells are never trained again, interrupted ones resume at their last epoch, and those being
trained by another process are skipped, so several processes can share the work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from mat2spec.benchmark.data import (
    BenchmarkData,
    BenchmarkError,
    Result,
    held_out_ids,
    predict_held_out,
    write_spectra,
)
from mat2spec.benchmark.recipes import Recipe
from mat2spec.models.checkpoints import load_weights
from mat2spec.spectra.normalisation import Setting
from mat2spec.tables.files import atomic_path, file_sha256
from mat2spec.tables.locks import take_lock
from mat2spec.training.runs import adapt_graphs, run_training
from mat2spec.training.settings import TrainingSettings

RESULT_FILE = "result.json"
SPECTRA_FILE = "spectra.safetensors"
# These affect how fast a cell is trained, not its result.
NOT_IDENTITY = {"accelerator", "devices"}

EpochReport = Callable[[dict[str, float]], None]


class BusyCellError(BenchmarkError):
    """Another process is training this cell."""


@dataclass(frozen=True)
class BenchmarkCell:
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
        """What must be equal for a result to belong to this cell."""
        return {
            "pretraining": self.pretraining,
            **self.training.model_dump(mode="json", exclude=NOT_IDENTITY),
        }


def make_cells(
    recipes: dict[str, Recipe], settings: list[Setting], seeds: list[int], overrides: dict[str, Any] | None = None
) -> list[BenchmarkCell]:
    """All cells, the first seed of every model first; `overrides` are fields of `TrainingSettings` for all.

    Sizes and loss weights of a recipe stay unless overridden.
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
                cells.append(BenchmarkCell(name, adapt_graphs(training), recipe.pretraining))
    return cells


def run_cell(cell: BenchmarkCell, data: BenchmarkData, folder: Path, on_epoch: EpochReport | None = None) -> Result:
    """Train a cell, or read its result if it is finished.

    Raises
    ------
    BusyCellError
        If another process is training it.
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


def read_result(place: Path, cell: BenchmarkCell | None = None) -> Result | None:
    """The result in a folder, or None; refused if its settings differ from those of the cell."""
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
    """Names of the settings that differ; settings missing from a stored result count as defaults."""
    stored = {**TrainingSettings().model_dump(mode="json", exclude=NOT_IDENTITY), **stored}
    return sorted(key for key in {*stored, *wanted} if stored.get(key) != wanted.get(key))


def read_results(folder: Path) -> list[Result]:
    """All finished cells of a folder, by name; each knows its `folder`."""
    places = sorted(path.parent for path in folder.glob(f"*/{RESULT_FILE}"))
    results = [(place, read_result(place)) for place in places]
    return [{**result, "folder": str(place)} for place, result in results if result is not None]


@contextmanager
def _locked(place: Path, cell: BenchmarkCell) -> Iterator[None]:
    try:
        lock = take_lock(place / ".lock")
    except Timeout as error:
        raise BusyCellError(f"Another process is training {cell.name}.") from error
    try:
        yield
    finally:
        lock.release()


def _train_cell(cell: BenchmarkCell, data: BenchmarkData, place: Path, on_epoch: EpochReport | None) -> Result:
    labelled = data.load(cell.training.graph, cell.pretraining)
    weights = run_training(labelled, cell.training, place, None, on_epoch)
    model, card = load_weights(weights)
    spectra = predict_held_out(model, card, labelled, data)
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
        **data.evaluate_splits(spectra, labelled),
    }
    with atomic_path(place / RESULT_FILE) as temporary:
        temporary.write_text(json.dumps(result, indent=1, sort_keys=True), encoding="utf-8")
    return result
