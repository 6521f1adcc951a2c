"""Mean frequency and heat capacity of predicted phonons against the full computed curves, not only their 51 points.

    OMP_NUM_THREADS=1 python benchmarks/phonon_means.py DATA [--models sitedos mat2spec]

The 189 published test materials. A full curve has steps of 1 cm-1 and no upper end; imaginary modes are left out. "51 points"
is what the label itself loses: its grid ends at 1,000 cm-1. Heat capacities at 300 K per mole of atoms.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flows.stages.predictors import load_one
from mat2spec.crystals.arrays import Crystals
from mat2spec.settings import FORCE_CONSTANTS_MODEL, PredictionSettings
from mat2spec.spectra.grids import PHDOS_GRID
from mat2spec.spectra.phonons import heat_capacity, mean_frequency
from mat2spec.spectra.trust import Trust
from mat2spec.tables.parquet import read_table
from mat2spec.tables.status import Status

MODELS = (FORCE_CONSTANTS_MODEL, "sitedos", "mat2spec", "gatgnn", "e3nn")
TABLE = "phdos_dfpt.parquet"
# Materials with more than this share of modes above the grid are shown apart.
MANY_ABOVE = 0.01

Means = NDArray[np.float64]


def main() -> None:
    """Print a row for the label's grid and for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", nargs="*", default=MODELS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = read_table(given.data / TABLE)
    table = table.filter(np.array(table["split"].to_pylist()) == "test")
    crystals = Crystals.from_arrow(table)
    starts = table["frequency_cm1_start"].to_pylist()
    curves = [np.array(curve) for curve in table["phdos_1cm1"].to_pylist()]
    full = np.array(
        [means_of(start + np.arange(len(curve)), curve) for start, curve in zip(starts, curves, strict=True)]
    )
    above = np.array([share_above(start, curve) for start, curve in zip(starts, curves, strict=True)])
    print(
        f"{len(full)} materials, {(above > MANY_ABOVE).sum()} with more than {MANY_ABOVE:.0%} of the modes above 1,000 cm-1\n"
    )
    print(
        "| | mean frequency: MAE (bias) / cm-1 | where modes lie above the grid | C_V at 300 K: MAE (bias) / J/(mol K) | flagged where modes lie above |"
    )
    print("|---|---|---|---|---|")
    print_row("51 points", full, on_grid(np.array(table["phdos_51"].to_pylist())), above, None)
    for model in given.models:
        prediction = load_one(model, PredictionSettings(device="cpu"), PHDOS_GRID.name).predict(crystals)
        ok = np.array([status == Status.OK for status in prediction.status])
        flagged = np.array([verdict != Trust.OK for verdict in prediction.trust])
        print_row(model, full[ok], on_grid(prediction.spectra[ok]), above[ok], flagged[ok])


def means_of(frequencies_cm1: Means, curve: Means) -> tuple[float, float]:
    """Mean frequency in cm-1 and heat capacity per mole of atoms of one curve; imaginary modes left out."""
    real = frequencies_cm1 > 0
    values, weights = frequencies_cm1[real], np.maximum(curve[real], 0)[None]
    return float(mean_frequency(values, weights)[0]), float(heat_capacity(values, weights, 1.0)[0])


def on_grid(spectra: NDArray[np.floating]) -> Means:
    """The same of many spectra on the grid, shape (n, 2)."""
    values = np.asarray(spectra, dtype=np.float64)
    return np.stack(
        [mean_frequency(PHDOS_GRID.centers, values), heat_capacity(PHDOS_GRID.centers, values, 1.0)], axis=1
    )


def share_above(start_cm1: float, curve: Means) -> float:
    """Share of the modes above the end of the grid."""
    frequencies = start_cm1 + np.arange(len(curve))
    return float(curve[frequencies > PHDOS_GRID.edges[-1]].sum() / curve.sum())


def print_row(name: str, full: Means, found: Means, above: Means, flagged: NDArray[np.bool_] | None) -> None:
    """Errors of one source of spectra."""
    errors = found - full
    many = above > MANY_ABOVE
    cells = [f"{np.abs(errors[:, 0]).mean():.1f} ({errors[:, 0].mean():+.1f})", f"{np.abs(errors[many, 0]).mean():.0f}"]
    cells += [f"{np.abs(errors[:, 1]).mean():.2f} ({errors[:, 1].mean():+.2f})"]
    cells += ["" if flagged is None else f"{flagged[many].mean():.2f} of {many.sum()}"]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
