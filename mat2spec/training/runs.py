"""A whole training: load data, start from given weights, train, measure, write weights and card."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only
from numpy.typing import NDArray

from mat2spec import __version__
from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.labels.readers import load_spectra
from mat2spec.labels.reserved import known_reserved_formulas
from mat2spec.labels.splits import further_splits
from mat2spec.models import SpectrumModel, build_model, model_settings
from mat2spec.models.checkpoints import (
    WeightsCard,
    WeightsError,
    load_weights,
    read_card,
    round_to_half,
    save_weights,
    tensors_hash,
    weights_name,
)
from mat2spec.spectra.metrics import evaluate_spectra
from mat2spec.training.calibration import calibrate, spectra_per_atom
from mat2spec.training.folders import TrainingError, alone_in
from mat2spec.training.learning_curve import learning_curve
from mat2spec.training.loop import EpochReport, TrainingState, train_model
from mat2spec.training.options import FINE_TUNING_RATE_FACTOR, TrainingOptions
from mat2spec.training.settings import TrainingSettings
from mat2spec.training.subclass import select

EVALUATED_SPLITS = ("valid", "test")
# A checkpoint can be resumed on another machine, for longer or with more patience, and its weights written otherwise.
_NO_IDENTITY = {"epochs", "accelerator", "devices", "num_nodes", "strategy", "patience", "weights_precision"}


def train_phdos(
    source: Path,
    settings: TrainingSettings,
    folder: Path,
    pretraining: bool = True,
    on_epoch: EpochReport | None = None,
    options: TrainingOptions | None = None,
) -> Path:
    """Train on phonon spectra.

    Parameters
    ----------
    source
        Folder with the phonon tables, or any other source: see `mat2spec.labels.readers`.
    settings
        How to train.
    folder
        Where checkpoint, curves and weights go.
    pretraining
        Whether to add the finite-displacement set of a data folder to the training data.
    on_epoch
        Called with the numbers of every epoch.
    options
        Fine-tuning, a class of materials, a learning curve.

    Returns
    -------
    Path
        The weights file; of a learning curve that of the largest part.
    """
    options = options or TrainingOptions()
    settings = starting_settings(settings, options)
    data = load_spectra(source, "phdos", settings.graph, pretraining=pretraining, reserved=_reserved(options))
    return _train_on(data, settings, folder, None, on_epoch, options)


def train_edos(
    source: Path | None,
    settings: TrainingSettings,
    folder: Path,
    encoder_weights: Path | None = None,
    on_epoch: EpochReport | None = None,
    stores: Sequence[Path] | None = None,
    options: TrainingOptions | None = None,
) -> Path:
    """Train on electronic densities of states, from a pretrained encoder if given.

    Parameters
    ----------
    source
        Folder with the eDOS table, or any other source: see `mat2spec.labels.readers`; None trains on
        stores alone.
    settings
        How to train.
    folder
        Where checkpoint, curves and weights go.
    encoder_weights
        Weights file whose encoder to start from; its sizes must be those of the new model.
    on_epoch
        Called with the numbers of every epoch.
    stores
        Further eDOS stores to train on; by default the shipped one.
    options
        Fine-tuning, a class of materials, a learning curve.

    Returns
    -------
    Path
        The weights file; of a learning curve that of the largest part.
    """
    options = options or TrainingOptions()
    settings = starting_settings(settings, options)
    data = load_spectra(
        source,
        "edos",
        settings.graph,
        stores=stores,
        reserved=_reserved(options),
        materials_class=options.materials_class,
        level=options.level,
    )
    return _train_on(data, settings, folder, encoder_weights, on_epoch, options)


def starting_settings(settings: TrainingSettings, options: TrainingOptions) -> TrainingSettings:
    """Settings compatible with the initial weights of a training.

    Fine-tuning takes model, sizes, setting and graphs of its weights and a fifth of the learning
    rate; any other training takes graphs that its model can read.
    """
    if options.fine_tune_from is None:
        return adapt_graphs(settings)
    card = read_card(options.fine_tune_from)
    return settings.model_copy(
        update={
            "model": card.model,
            "setting": card.setting,
            "model_settings": card.model_settings,
            "graph": card.graph_settings,
            "learning_rate": settings.learning_rate * FINE_TUNING_RATE_FACTOR,
        }
    )


def _reserved(options: TrainingOptions) -> set[str]:
    return known_reserved_formulas(options.reserved_from)


def _train_on(
    data: LabelledSpectra,
    settings: TrainingSettings,
    folder: Path,
    encoder_weights: Path | None,
    on_epoch: EpochReport | None,
    options: TrainingOptions,
) -> Path:
    data = select(data, options.subclass)
    if not options.fractions:
        return run_training(data, settings, folder, encoder_weights, on_epoch, options.fine_tune_from)
    if settings.devices * settings.num_nodes > 1:
        raise TrainingError("Learning curves are trained on one device; set devices and num_nodes to 1.")

    def train(part: LabelledSpectra, place: Path) -> tuple[Path, dict[str, dict[str, float | None]]]:
        weights = run_training(part, settings, place, encoder_weights, on_epoch, options.fine_tune_from)
        return weights, read_card(weights).metrics

    return learning_curve(data, options.fractions, folder, settings.seed, train)[0]


def adapt_graphs(settings: TrainingSettings) -> TrainingSettings:
    """The same training with graphs that its model can read."""
    graph = model_settings(settings.model, settings.model_settings).adapt_graphs(settings.graph)
    return settings.model_copy(update={"graph": graph})


def run_training(
    data: LabelledSpectra,
    settings: TrainingSettings,
    folder: Path,
    encoder_weights: Path | None = None,
    on_epoch: EpochReport | None = None,
    fine_tune_from: Path | None = None,
) -> Path:
    """Train on given data and write `<model>-<spectrum>-<setting>.safetensors` with its card.

    Fine-tuning expects the settings that `starting_settings` gives.

    Raises
    ------
    TrainingError
        If another process trains in the folder, or as `mat2spec.training.loop.train_model`.
    """
    with alone_in(folder):
        return _train_in(folder, data, settings, encoder_weights, on_epoch, fine_tune_from)


def _train_in(
    folder: Path,
    data: LabelledSpectra,
    settings: TrainingSettings,
    encoder_weights: Path | None,
    on_epoch: EpochReport | None,
    fine_tune_from: Path | None,
) -> Path:
    torch.manual_seed(settings.seed)
    model = _starting_model(data, settings, encoder_weights, fine_tune_from)
    path = folder / weights_name(settings.model, data.grid.name, settings.setting)
    before = {} if fine_tune_from is None else _evaluate(model, data)
    fingerprint = _fingerprint(model, data, settings)
    keep = fine_tune_from is not None
    progress = train_model(model, data, settings, folder, fingerprint, on_epoch, keep_statistics=keep)
    if getattr(rank_zero_only, "rank", 0):
        return path  # with several devices only the first process evaluates and writes
    half = settings.weights_precision == "float16"
    if half:
        round_to_half(model)
    calibrate(model, data)
    training = _describe(data, settings, progress, encoder_weights)
    if fine_tune_from is not None:
        training |= {"fine_tuned_from": Path(fine_tune_from).name, "before_fine_tuning": before}
    card = WeightsCard(
        model=settings.model,
        setting=settings.setting,
        model_settings=model.settings.model_dump(mode="json"),
        graph_settings=settings.graph,
        grid=data.grid.to_json(),
        training=training,
        metrics=_evaluate(model, data),
    )
    save_weights(path, model, card, half)
    return path


def _starting_model(
    data: LabelledSpectra, settings: TrainingSettings, encoder_weights: Path | None, fine_tune_from: Path | None
) -> SpectrumModel:
    if fine_tune_from is None:
        model = build_model(settings.model, settings.model_settings, data.grid.size, settings.setting)
        if encoder_weights is not None:
            start_from_encoder(model, encoder_weights, settings)
        return model
    if encoder_weights is not None:
        raise TrainingError("Fine-tuning starts from complete weights; leave out the weights of an encoder.")
    model, card = load_weights(fine_tune_from)
    if card.spectral_grid != data.grid:
        raise WeightsError(
            f"The weights {fine_tune_from} predict spectra on the grid '{card.spectral_grid.name}', the data are on "
            f"'{data.grid.name}'; fine-tune on data of the same kind."
        )
    return model.train()


def _evaluate(model: SpectrumModel, data: LabelledSpectra) -> dict[str, dict[str, float]]:
    return {split: evaluate_split(model, data.part(split)) for split in evaluated_splits(data)}


def start_from_encoder(model: SpectrumModel, path: Path, settings: TrainingSettings) -> None:
    """Copy the encoder of a weights file into a model.

    Raises
    ------
    WeightsError
        If sizes or graph settings differ.
    """
    donor, card = load_weights(path)
    if card.graph_settings != settings.graph:
        raise WeightsError(f"The encoder in {path} was trained on other graphs; use its graph settings.")
    try:
        model.encoder.load_state_dict(donor.encoder.state_dict())
    except RuntimeError as error:
        raise WeightsError(f"The encoder in {path} does not fit the model '{settings.model}': {error}") from error


def evaluated_splits(data: LabelledSpectra) -> tuple[str, ...]:
    """Splits with separate metrics: validation, test, and any others present."""
    return (*EVALUATED_SPLITS, *further_splits(data.split))


def evaluate_split(model: SpectrumModel, data: LabelledSpectra) -> dict[str, float]:
    """Held-out metrics: of shapes for shape models, of spectra per atom for scale models."""
    if len(data) < 2:
        return {"n": float(len(data))}
    return evaluate_spectra(_comparable(model, data), spectra_per_atom(model, data), data.grid)


def _comparable(model: SpectrumModel, data: LabelledSpectra) -> NDArray[np.float64]:
    spectra = data.spectra.astype(np.float64)
    return spectra / spectra.sum(axis=1, keepdims=True) if model.setting.predicts_shape else spectra


def _fingerprint(model: SpectrumModel, data: LabelledSpectra, settings: TrainingSettings) -> str:
    parts = {
        "settings": settings.model_dump(mode="json", exclude=_NO_IDENTITY),
        "sources": data.sources,
        "materials": hashlib.sha256("\n".join(data.material_ids).encode()).hexdigest(),
        "initial": tensors_hash(model.state_dict()),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _describe(
    data: LabelledSpectra, settings: TrainingSettings, progress: TrainingState, encoder_weights: Path | None
) -> dict[str, Any]:
    counts = {split: len(data.part(split)) for split in ("train", *evaluated_splits(data))}
    return {
        "data": data.name,
        "materials": counts,
        "left_out": data.dropped,
        "source_sha256": data.sources,
        "encoder_from": encoder_weights.name if encoder_weights else "random",
        "best_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        "seconds": round(progress.seconds),
        "device": "cuda" if torch.cuda.is_available() and settings.accelerator != "cpu" else "cpu",
        "settings": settings.model_dump(mode="json", exclude={"model_settings", "graph"}),
        "versions": {
            "mat2spec": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "pymatgen")},
        },
    }
