"""A complete training of learned tight binding: from labelled spectra to weights and card."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mat2spec import __version__
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import DataError, LabelledSpectra
from mat2spec.labels.splits import STORE_TEST, Split, calibration_split
from mat2spec.models.checkpoints import WeightsCard, save_weights, weights_name
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.metrics import evaluate_spectra, normalise_sum
from mat2spec.spectra.normalisation import Setting
from mat2spec.tight_binding.model import TightBinding, predicted_spectrum
from mat2spec.tight_binding.predictor import MODEL_NAME, MODEL_NAME_WITH_SPIN, find_problems
from mat2spec.training.folders import alone_in
from mat2spec.training.tight_binding import (
    MemberReport,
    SolvableCrystal,
    TightBindingTraining,
    make_solvable,
    train_tight_binding,
)


def run_tight_binding(
    data: LabelledSpectra,
    settings: TightBindingTraining,
    folder: Path,
    on_epoch: MemberReport | None = None,
    unpolarised: LabelledSpectra | None = None,
) -> Path:
    """Train on labelled electronic densities of states and write weights and card.

    Parameters
    ----------
    data
        Crystals, spectra and split.
    settings
        How to train.
    folder
        Where the state of each member and the weights go.
    on_epoch
        Called with the numbers of every epoch.
    unpolarised
        Further labels computed without spin for a model with spin, whose crystals are solved without spin. Only training
        materials whose formula is not in `data` are used.

    Returns
    -------
    Path
        The weights file.

    Raises
    ------
    TrainingError
        If another process trains in the folder, or its state is damaged or of another training.
    DataError
        If the data lack their crystals or are on another grid.
    """
    if data.crystals is None or data.grid != EDOS_GRID:
        raise DataError(
            "Tight binding is trained on electronic densities of states on the grid 'edos', with their crystals."
        )
    with alone_in(folder):
        return _train_in(folder, data, settings, on_epoch, unpolarised)


def _train_in(
    folder: Path,
    data: LabelledSpectra,
    settings: TightBindingTraining,
    on_epoch: MemberReport | None,
    unpolarised: LabelledSpectra | None,
) -> Path:
    start = time.perf_counter()
    name = MODEL_NAME_WITH_SPIN if settings.model.spin else MODEL_NAME
    usable, also = _solvable_part(data, settings), None
    if unpolarised is not None:
        others = (unpolarised.split == Split.TRAIN) & ~np.isin(unpolarised.formulas, data.formulas)
        also = _solvable_part(unpolarised.take(np.flatnonzero(others)), settings)
    parts = {split: usable.part(str(split)) for split in np.unique(usable.split)}
    known = (Split.TRAIN, calibration_split(usable.split))
    spin, density = settings.model.spin, settings.kpoints_per_atom
    train, calibration = (_solvable(parts[split], settings, density, spin=spin) for split in known)
    if also is not None:
        train += _solvable(also, settings, density, spin=False)
    model = train_tight_binding(train, calibration, settings, folder, on_epoch)
    card = WeightsCard(
        model=name,
        setting=Setting.SUMNORM_KL,
        model_settings=model.settings.model_dump(mode="json"),
        graph_settings=GraphSettings(),
        grid=EDOS_GRID.to_json(),
        training=_provenance(usable, also, len(data), settings) | {"seconds": round(time.perf_counter() - start)},
        metrics=_metrics(model, parts, settings),
    )
    path = folder / weights_name(name, EDOS_GRID.name, Setting.SUMNORM_KL)
    save_weights(path, model, card)
    return path


def _provenance(
    data: LabelledSpectra, also: LabelledSpectra | None, n_given: int, settings: TightBindingTraining
) -> dict[str, Any]:
    """Training data for the card: the usable ones of `n_given` materials, and those without spin."""
    materials = {str(split): int(n) for split, n in zip(*np.unique(data.split, return_counts=True), strict=True)}
    others = {} if also is None else {"train, without spin": len(also)}
    return {
        "data": data.name,
        "materials": materials | others,
        "left_out": {**data.dropped, "not solvable": n_given - len(data)},
        "source_sha256": data.sources | ({} if also is None else also.sources),
        "epochs": settings.epochs,
        "settings": settings.model_dump(mode="json", exclude={"model"}),
        "versions": {
            "mat2spec": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "sevenn", "moyopy")},
        },
    }


def _solvable_part(data: LabelledSpectra, settings: TightBindingTraining) -> LabelledSpectra:
    """The crystals that tight binding supports."""
    assert data.crystals is not None
    problems = find_problems(data.crystals, settings.model.descriptors)
    return data.take(np.flatnonzero([problem is None for problem in problems]))


def _solvable(
    data: LabelledSpectra, settings: TightBindingTraining, kpoints_per_atom: float, *, spin: bool
) -> list[SolvableCrystal]:
    assert data.crystals is not None
    return make_solvable(data.crystals, data.spectra, settings.model, kpoints_per_atom, spin=spin)


def _metrics(
    model: TightBinding, parts: Mapping[str, LabelledSpectra], settings: TightBindingTraining
) -> dict[str, dict[str, float | None]]:
    """Metrics of shapes, and R2 of the spectra per atom with their predicted scale."""
    metrics: dict[str, dict[str, float | None]] = {}
    for split, part in parts.items():
        if split == Split.TRAIN:
            continue
        # The older test sets were computed without spin.
        spin = settings.model.spin and split not in (Split.TEST, STORE_TEST)
        predicted = predict_spectra(model, _solvable(part, settings, model.settings.kpoints_per_atom, spin=spin))
        true = part.spectra.astype(np.float64)
        blind = evaluate_spectra(true, predicted, part.grid)
        metrics[split] = {
            **evaluate_spectra(normalise_sum(true), normalise_sum(predicted), part.grid),
            "r2_blind_scale": blind["r2"],
        }
    return metrics


@torch.no_grad()
def predict_spectra(model: TightBinding, crystals: Sequence[SolvableCrystal]) -> NDArray[np.float64]:
    """Predicted spectra per atom, shape (n, size)."""
    answers: list[Any] = [predicted_spectrum(model(one.problem, one.descriptors), model.grid) for one in crystals]
    return np.array([(answer.shape * answer.total).double().numpy() for answer in answers])
