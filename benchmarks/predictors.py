"""Judge predictors of electronic densities of states as users have them: blind, spectra per cell, classes, cost.

    python benchmarks/predictors.py DATA tight-binding sitedos [--level mp]

Sets that no shipped model was trained on. Without spin: the 91 older test materials (split by formula) and the random
natural crystals of `edos_pbe_natural.parquet` in the folder DATA. At the level of the Materials Project: the test sets of the
label plan, without formulas that the models of unpolarised spectra were trained on.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.magnetism import can_be_magnetic
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.readers.data_folder import load_edos
from mat2spec.labels.splits import PLAN_TEST_SETS, Split
from mat2spec.prediction import load_predictor
from mat2spec.settings import Level
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.metrics import normalise_sum, r2_score, wasserstein_distances
from mat2spec.spectra.prediction import Prediction
from screening.classify.gaps import classify_spectra

INTERVAL_90 = 1.645


@dataclass(frozen=True)
class LabelledSet:
    """Crystals and their computed spectra per cell, shape (n, size)."""

    name: str
    crystals: Crystals
    spectra: NDArray[np.float64]


def held_out(data_dir: Path) -> LabelledSet:
    """The test materials of the labels."""
    data = load_edos(data_dir, GraphSettings())
    rows = np.flatnonzero(np.isin(data.split, ["test", "store_test"]))
    assert data.crystals is not None
    crystals = data.crystals.take(rows)
    return LabelledSet("test", crystals, data.spectra[rows] * crystals.n_sites[:, None])


def natural(data_dir: Path) -> LabelledSet:
    """Random crystals as the Materials Project has them."""
    table = pq.read_table(data_dir / "edos_pbe_natural.parquet")
    spectra = np.stack([np.asarray(row, dtype=np.float64) for row in table["edos"].to_numpy()])
    return LabelledSet("natural", Crystals.from_arrow(table), spectra)


def of_plan(data_dir: Path) -> list[LabelledSet]:
    """The test sets of the label plan, and those of its crystals that can be magnetic."""
    data, older = load_edos(data_dir, GraphSettings(), level=Level.MP), load_edos(data_dir, GraphSettings())
    unseen = ~np.isin(data.formulas, older.formulas[older.split == Split.TRAIN])
    assert data.crystals is not None
    magnetic = np.array([can_be_magnetic(data.crystals.cell(index).atomic_numbers) for index in range(len(data))])
    chosen = {str(split): unseen & (data.split == split) for split in PLAN_TEST_SETS}
    of_all = np.logical_or.reduce(list(chosen.values()))
    chosen |= {"all, magnetic": of_all & magnetic, "all, not magnetic": of_all & ~magnetic, "all": of_all}
    return [
        LabelledSet(name, data.crystals.take(rows), data.spectra[rows] * data.crystals.n_sites[rows, None])
        for name, rows in ((name, np.flatnonzero(mask)) for name, mask in chosen.items())
    ]


def judge(prediction: Prediction, labelled: LabelledSet, seconds: float) -> dict[str, float | str]:
    """Figures of one model on one set; failed predictions are counted and left out."""
    ok = np.flatnonzero([status == "ok" for status in prediction.status])
    true, predicted = labelled.spectra[ok], prediction.spectra[ok].astype(np.float64)
    n_sites = labelled.crystals.n_sites[ok]
    classes = [classify_spectra(values, EDOS_GRID, n_sites=n_sites) for values in (true, predicted)]
    metal, called_metal = (each["is_metal"].to_numpy(bool) for each in classes)
    flag, called_flag = (each["is_gapped_metal"].to_numpy(bool) for each in classes)
    inside = np.abs(predicted - true) <= INTERVAL_90 * prediction.uncertainty[ok]
    distances = wasserstein_distances(true, predicted, EDOS_GRID)
    return {
        "set": labelled.name,
        "model": prediction.model,
        "n": len(ok),
        "failed": len(prediction) - len(ok),
        "WD eV": round(float(distances.mean()), 3),
        "median WD": round(float(np.median(distances)), 3),
        "R2 shapes": round(r2_score(normalise_sum(true), normalise_sum(predicted)), 3),
        "R2 blind per atom": round(r2_score(true / n_sites[:, None], predicted / n_sites[:, None]), 3),
        "insulators called metals": f"{(called_metal & ~metal).sum()} of {(~metal).sum()}",
        "metals called insulators": f"{(~called_metal & metal).sum()} of {metal.sum()}",
        "gapped metals tp fp fn": f"{(flag & called_flag).sum()} {(~flag & called_flag).sum()} {(flag & ~called_flag).sum()}",
        "in 90 % interval": round(float(inside.mean()), 3),
        "CPU s a crystal": round(seconds / len(prediction), 3),
    }


def main() -> None:
    """Print one line per set and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--level", type=Level, choices=list(Level), default=Level.UNPOLARISED, help="of the labels")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sets = of_plan(given.data) if given.level is Level.MP else [held_out(given.data), natural(given.data)]
    for labelled in sets:
        for model in given.models:
            predictor = load_predictor(model, device="cpu")
            predictor.predict(labelled.crystals.take([0]))  # loads what is loaded once
            start = time.process_time()
            prediction = predictor.predict(labelled.crystals)
            print(judge(prediction, labelled, time.process_time() - start), flush=True)


if __name__ == "__main__":
    main()
