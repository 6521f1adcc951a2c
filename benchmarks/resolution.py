"""R2 of electronic spectra against the energy resolution at which predicted and computed ones are compared.

    OMP_NUM_THREADS=1 python benchmarks/resolution.py DATA [--models tight-binding-mp sitedos mat2spec]

R2 compares bins of 0.063 eV, and computed spectra have peaks as narrow as that: a prediction that is right but for a broadening
of 0.2 eV has the R2 of the first column. In the others both spectra are broadened by a Gaussian of that standard deviation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from flows.stages.predictors import load_one
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.labels.readers.data_folder import load_edos
from mat2spec.settings import Level, PredictionSettings
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.metrics import r2_score

MODELS = ("tight-binding-mp", "sitedos", "mat2spec")
BROADENINGS_EV = (0.0, 0.05, 0.1, 0.2, 0.3)
TEST_SETS = ("test_random", "test_prototype")


def broadened(spectra: NDArray[np.floating], deviation_ev: float) -> NDArray[np.float64]:
    """Spectra convolved with a Gaussian of this standard deviation."""
    values = np.asarray(spectra, dtype=np.float64)
    return gaussian_filter1d(values, deviation_ev / EDOS_GRID.width, axis=1, mode="nearest") if deviation_ev else values


def predicted(model: str, labels: LabelledSpectra) -> NDArray[np.float64]:
    """Blind spectra of a model per cell."""
    predictor = load_one(model, PredictionSettings(device="cpu"), EDOS_GRID.name)
    assert labels.crystals is not None
    return np.asarray(predictor.predict(labels.crystals).spectra, dtype=np.float64)


def main() -> None:
    """Print a table for each test set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", nargs="*", default=MODELS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = load_edos(given.data, GraphSettings(), level=Level.MP)
    for name in TEST_SETS:
        labels = data.part(name)
        assert labels.crystals is not None
        true = labels.spectra * labels.crystals.n_sites[:, None]
        spectra = {model: predicted(model, labels) for model in given.models}
        print(f"\n{name}: {len(labels)} materials\n")
        print("| broadening / eV | computed, broadened, against computed | " + " | ".join(given.models) + " |")
        print("|---" * (2 + len(spectra)) + "|")
        for deviation in BROADENINGS_EV:
            both = [r2_score(broadened(true, deviation), broadened(one, deviation)) for one in spectra.values()]
            cells = [r2_score(true, broadened(true, deviation)), *both]
            print(f"| {deviation:g} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
