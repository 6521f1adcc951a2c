"""Ensembles from saved spectra or weights: mean of the members, uncertainty from their spread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mat2spec.benchmark.cells import (
    EVALUATED,
    SPECTRA_FILE,
    BenchmarkData,
    BenchmarkError,
    Result,
    Spectra,
    evaluate_splits,
    held_out_ids,
    predict_held_out,
    read_spectra,
)
from mat2spec.benchmark.evaluation import SIGMAS_OF_90_PERCENT, PhononLabels
from mat2spec.datasets import LabelledSpectra
from mat2spec.phonons import scale_to_modes
from mat2spec.weights import load_weights

MIXED = "mixed"


def ensemble_of_cells(results: Sequence[Result], data: BenchmarkData) -> tuple[Result, Spectra]:
    """The seeds of one model and setting as an ensemble, from the spectra that they saved.

    Raises
    ------
    BenchmarkError
        If they were judged on different materials.
    """
    ids = results[0]["material_ids"]
    if any(result["material_ids"] != ids for result in results):
        raise BenchmarkError(f"The seeds of {results[0]['contender']} were judged on different materials; train anew.")
    labelled = data.judged(ids, results[0]["settings"]["pretraining"])
    spectra = join_members([read_spectra(Path(result["folder"]) / SPECTRA_FILE) for result in results], labelled)
    result = {key: results[0][key] for key in ("contender", "model", "setting")}
    metrics = evaluate_splits(spectra, labelled)
    return {**result, "n_members": len(results), "material_ids": ids, "metrics": metrics}, spectra


def evaluate_weights(name: str, paths: Sequence[Path], data: BenchmarkData) -> tuple[Result, Spectra]:
    """Saved weights, one file or an ensemble of several, on the benchmark's held-out materials.

    What they were trained on is their own affair: their cards say it.

    Raises
    ------
    BenchmarkError
        If weights are of another spectral grid.
    """
    members, cards, ids = [], [], []
    for path in paths:
        model, card = load_weights(path)
        labelled = data.load(card.graph_settings)
        if card.spectral_grid != labelled.grid:
            raise BenchmarkError(f"The weights {path} are of the spectrum '{card.spectral_grid.name}', not of phonons.")
        members.append(predict_held_out(model, card, labelled))
        cards.append(card)
        ids.append(held_out_ids(labelled))
    if any(other != ids[0] for other in ids):
        raise BenchmarkError(f"The weights of {name} can predict different materials; judge them apart.")
    spectra = members[0] if len(members) == 1 else join_members(members, labelled)
    settings, models = {str(card.setting) for card in cards}, {card.model for card in cards}
    result: Result = {
        "contender": name,
        "model": "+".join(sorted(models)),
        "setting": settings.pop() if len(settings) == 1 else MIXED,
        "n_members": len(members),
        "training": cards[0].training,
        "material_ids": ids[0],
        "metrics": evaluate_splits(spectra, labelled),
    }
    return result, spectra


def join_members(members: Sequence[Spectra], data: LabelledSpectra) -> Spectra:
    """Mean of spectra with three modes per atom; spread times the factor that holds on validation materials."""
    joined = {split: _mean_and_spread([member[split][0] for member in members], data) for split in EVALUATED}
    factor = calibrate(*joined["valid"], data.part("valid"))
    return {split: (mean, factor * spread) for split, (mean, spread) in joined.items()}


def calibrate(spectra: NDArray[np.float64], spread: NDArray[np.float64], labels: PhononLabels) -> float:
    """Factor on a spread with which 90 % of the true bins lie in the central 90 % interval of a normal distribution."""
    error = np.abs(scale_to_modes(labels.spectra, labels.grid) - spectra)
    return float(np.quantile(error / spread, 0.9)) / SIGMAS_OF_90_PERCENT


def _mean_and_spread(
    spectra: Sequence[NDArray[np.float64]], data: LabelledSpectra
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    stacked = np.stack([scale_to_modes(member, data.grid) for member in spectra])
    spread = stacked.std(axis=0, ddof=1)
    # Where all members say exactly the same they may still be wrong: no bin is certain.
    return stacked.mean(axis=0), np.maximum(spread, 1e-3 * stacked.mean())
