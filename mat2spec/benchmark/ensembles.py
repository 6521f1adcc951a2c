"""Ensembles from saved spectra or weights, and shapes on the scale predicted by another model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mat2spec.benchmark.baselines import BASELINES, Baseline
from mat2spec.benchmark.cells import SPECTRA_FILE
from mat2spec.benchmark.data import (
    Array,
    BenchmarkData,
    BenchmarkError,
    Result,
    Spectra,
    held_out_ids,
    held_out_splits,
    predict_held_out,
    read_spectra,
)
from mat2spec.benchmark.evaluation import SIGMAS_OF_90_PERCENT
from mat2spec.force_constants.predictor import ForceConstantsPredictor
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.labels.splits import Split, calibration_split
from mat2spec.models.checkpoints import WeightsCard, load_weights, read_card, weights_name
from mat2spec.prediction import Predictor, load_predictor
from mat2spec.settings import FORCE_CONSTANTS_MODEL, PredictionSettings
from mat2spec.spectra.normalisation import Setting
from mat2spec.tables.array_cache import descriptor_cache
from mat2spec.tight_binding.predictor import MODEL_NAMES as TIGHT_BINDING_MODELS
from mat2spec.tight_binding.predictor import TightBindingPredictor

MIXED = "mixed"
COMPOSITION_ONLY = "composition only"


class Judged(NamedTuple):
    """A result with the evaluated spectra, and for shapes the predicted sums of their bins per atom, by split."""

    result: Result
    spectra: Spectra
    totals: Mapping[str, Array] = MappingProxyType({})


def judge_cells(results: Sequence[Result], data: BenchmarkData) -> list[Judged]:
    """Finished trainings with their spectra; shapes get the scale that the same model and seed predict, if trained."""
    scales = {(one["contender"], one["seed"]): one for one in results if data.needs_scale and not _is_shape(one)}
    judged = []
    for result in results:
        spectra = _saved_spectra(result)
        scale = scales.get((result["contender"], result["seed"]))
        one = Judged(result, spectra)
        judged.append(one if scale is None or not _is_shape(result) else _on_scale(one, [result], [scale], data))
    return judged


def judge_ensembles(groups: Mapping[tuple[str, str], Sequence[Result]], data: BenchmarkData) -> list[Judged]:
    """The seeds of each setting and model as an ensemble; shapes get the scale of the ensemble of scale models.

    Parameters
    ----------
    groups
        Results by setting and contender.
    data
        The data of the evaluation.
    """
    judged = []
    for (_, contender), group in groups.items():
        if len(group) < 2:
            continue
        ensemble = ensemble_of_cells(group, data)
        scales = groups.get((str(Setting.STANDARD_MAE), contender), ()) if data.needs_scale else ()
        if scales and _is_shape(group[0]):
            ensemble = _on_scale(ensemble, group, scales, data)
        judged.append(ensemble)
    return judged


def ensemble_of_cells(results: Sequence[Result], data: BenchmarkData) -> Judged:
    """The seeds of one model and setting as an ensemble, from their saved spectra.

    Raises
    ------
    BenchmarkError
        If they were evaluated on different materials.
    """
    ids, labelled = _common_labels(results, data)
    is_shape = _is_shape(results[0])
    spectra = join_members([_saved_spectra(result) for result in results], labelled, data, is_shape)
    result = {key: results[0][key] for key in ("contender", "model", "setting")}
    judged = data.evaluate_splits(spectra, labelled)
    return Judged({**result, "n_members": len(results), "material_ids": ids, **judged}, spectra)


def evaluate_weights(name: str, paths: Sequence[Path], data: BenchmarkData) -> Judged:
    """Saved weights, one file or an ensemble of several, on the benchmark's held-out materials.

    Their cards say what they were trained on. Electronic shapes get the scale of the weights in the setting
    standard-mae among the files. Weights of a model that reads crystals are evaluated as a predictor.

    Raises
    ------
    BenchmarkError
        If weights belong to another spectral grid.
    """
    first = read_card(paths[0])
    if first.model in TIGHT_BINDING_MODELS:
        return evaluate_predictor(name, _predictor_of(paths[0], first), first, data)
    shapes: list[Spectra] = []
    scales: list[Spectra] = []
    cards, ids = [], []
    for path in paths:
        model, card = load_weights(path)
        labelled = data.load(card.graph_settings)
        if card.spectral_grid != labelled.grid:
            raise BenchmarkError(
                f"The weights {path} predict the spectrum '{card.spectral_grid.name}', not '{labelled.grid.name}'."
            )
        is_scale = data.needs_scale and not card.setting.predicts_shape
        (scales if is_scale else shapes).append(predict_held_out(model, card, labelled, data))
        cards.append(card)
        ids.append(held_out_ids(labelled))
    if any(other != ids[0] for other in ids):
        raise BenchmarkError(f"The weights of {name} can predict different materials; evaluate them separately.")
    members = shapes or scales
    spectra = members[0] if len(members) == 1 else join_members(members, labelled, data, bool(shapes))
    totals = _mean_totals(scales) if shapes and scales else None
    models = {card.model for card in cards}
    settings = {str(card.setting) for card in cards if card.setting.predicts_shape or not data.needs_scale}
    result: Result = {
        "contender": name,
        "model": "+".join(sorted(models)),
        "setting": _only(settings or {str(cards[0].setting)}),
        "n_members": len(members),
        "training": cards[0].training,
        "material_ids": ids[0],
        **data.evaluate_splits(spectra, labelled, totals),
    }
    return Judged(result, spectra, totals or {})


def evaluate_predictor(name: str, predictor: Predictor, card: WeightsCard, data: BenchmarkData) -> Judged:
    """A predictor of spectra per cell as users have it, on the benchmark's held-out materials.

    A failed prediction is evaluated as a flat spectrum and counted in ``n_empty``.

    Raises
    ------
    BenchmarkError
        If the crystals of the labels are missing.
    """
    labelled = data.load(GraphSettings())
    splits = held_out_splits(labelled)
    spectra: Spectra = {split: _predict_per_atom(predictor, labelled.part(split)) for split in splits}
    result: Result = {
        "contender": name,
        "model": card.model,
        "setting": str(card.setting),
        "n_members": 1,
        "training": card.training,
        "material_ids": held_out_ids(labelled),
        **data.evaluate_splits(spectra, labelled),
    }
    return Judged(result, spectra)


def evaluate_force_constants(name: str, network: Path, data: BenchmarkData) -> Judged:
    """The model `force-constants` on a network's weights: some seconds a crystal, kept in the cache of descriptors."""
    card = read_card(network)
    predictor = load_predictor(FORCE_CONSTANTS_MODEL, card.spectral_grid.name, network.parent)
    assert isinstance(predictor, ForceConstantsPredictor)
    # The intervals of calibrations have seen test materials.
    predictor.trust = predictor.trust_in_network = None
    predictor.descriptor_cache = descriptor_cache(PredictionSettings())
    return evaluate_predictor(name, predictor, card.model_copy(update={"model": FORCE_CONSTANTS_MODEL}), data)


def _predictor_of(path: Path, card: WeightsCard) -> Predictor:
    expected = weights_name(card.model, card.spectral_grid.name, card.setting)
    if path.name != expected:
        raise BenchmarkError(f"The weights {path} belong to the model '{card.model}'; rename the file to {expected}.")
    predictor = load_predictor(card.model, card.spectral_grid.name, path.parent)
    # As for all other weights the intervals are the model's own: those of its calibration have seen test materials.
    if isinstance(predictor, TightBindingPredictor):
        predictor.trust = None
    return predictor


def _predict_per_atom(predictor: Predictor, labels: LabelledSpectra) -> tuple[Array, Array]:
    if labels.crystals is None:
        raise BenchmarkError(f"The crystals of {labels.name} are missing, and this model needs crystals, not graphs.")
    prediction = predictor.predict(labels.crystals)
    n_atoms = labels.crystals.n_sites[:, None]
    return prediction.spectra / n_atoms, prediction.uncertainty / n_atoms


def judge_baselines(data: BenchmarkData) -> list[Result]:
    """Predictors that know only the composition, on the held-out materials of all models."""
    labelled = data.load(GraphSettings())
    return [_judge_baseline(baseline(), labelled, data) for baseline in BASELINES]


def _judge_baseline(baseline: Baseline, labelled: LabelledSpectra, data: BenchmarkData) -> Result:
    train = labelled.part(Split.TRAIN)
    gapped = data.gapped_metals(train)
    baseline.fit(train.formulas.tolist(), train.spectra, None if gapped is None else gapped.flags)
    splits = held_out_splits(labelled)
    forecasts = {split: baseline.predict(labelled.part(split).formulas.tolist()) for split in splits}
    spectra: Spectra = {split: (forecast.spectra, None) for split, forecast in forecasts.items()}
    found = {split: one.gapped_metals for split, one in forecasts.items() if one.gapped_metals is not None}
    return {
        "contender": baseline.name,
        "model": baseline.name,
        "setting": COMPOSITION_ONLY,
        "n_train": len(train),
        **data.evaluate_splits(spectra, labelled, gapped_metals=found),
    }


def join_members(members: Sequence[Spectra], labels: LabelledSpectra, data: BenchmarkData, is_shape: bool) -> Spectra:
    """Mean of the members; spread times the factor fitted to the calibration (or else validation) materials."""
    joined: dict[str, tuple[Array, Array]] = {}
    for split in members[0]:
        stacked = np.stack([data.comparable(member[split][0], is_shape) for member in members])
        spread = stacked.std(axis=0, ddof=1)
        # Even where all members agree exactly they may be wrong: no bin is certain.
        joined[split] = stacked.mean(axis=0), np.maximum(spread, 1e-3 * stacked.mean())
    known = calibration_split(labels.split)
    mean, spread = joined[known]
    error = np.abs(data.comparable(labels.part(known).spectra, is_shape) - mean)
    factor = calibration_factor(error, spread)
    return {split: (mean, factor * spread) for split, (mean, spread) in joined.items()}


def calibration_factor(error: NDArray[np.float64], spread: NDArray[np.float64]) -> float:
    """Factor on a spread with which 90 % of the errors lie in the central 90 % interval of a normal distribution."""
    return float(np.nanquantile(error / spread, 0.9)) / SIGMAS_OF_90_PERCENT


def _on_scale(judged: Judged, shapes: Sequence[Result], scales: Sequence[Result], data: BenchmarkData) -> Judged:
    """Shapes judged on the scale predicted by the results `scales`."""
    _, labelled = _common_labels([*shapes, *scales], data)
    totals = _mean_totals([_saved_spectra(result) for result in scales])
    figures = data.evaluate_splits(judged.spectra, labelled, totals)
    return Judged({**judged.result, **figures}, judged.spectra, totals)


def _mean_totals(scales: Sequence[Spectra]) -> dict[str, Array]:
    """Predicted sums of the bins per atom, averaged over scale models."""
    return {split: np.mean([one[split][0].sum(axis=1) for one in scales], axis=0) for split in scales[0]}


def _common_labels(results: Sequence[Result], data: BenchmarkData) -> tuple[dict[str, list[str]], LabelledSpectra]:
    ids: dict[str, list[str]] = results[0]["material_ids"]
    if any(result["material_ids"] != ids for result in results):
        raise BenchmarkError(
            f"The seeds of {results[0]['contender']} were evaluated on different materials; train them again."
        )
    return ids, data.judged(ids, results[0]["settings"]["pretraining"])


def _saved_spectra(result: Result) -> Spectra:
    return read_spectra(Path(result["folder"]) / SPECTRA_FILE)


def _is_shape(result: Result) -> bool:
    return Setting(result["setting"]).predicts_shape


def _only(settings: set[str]) -> str:
    return settings.pop() if len(settings) == 1 else MIXED
