"""Find of what published heat capacities are: the cell, the formula unit or the atom.

    OMP_NUM_THREADS=1 python benchmarks/heat_capacity_units.py DATA

Errors of heat capacity and mean frequency go together, in every model by much the same ratio, and the latter does not depend
on the amount of matter. Which ratio the published rows have tells what their heat capacities are of.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from mat2spec.benchmark.paper import PUBLISHED_PHONONS
from mat2spec.crystals.composition import ElementCounts
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.readers.data_folder import load_phdos
from mat2spec.labels.splits import Split
from mat2spec.prediction import load_predictor
from mat2spec.spectra.grids import PHDOS_GRID
from mat2spec.spectra.phonons import heat_capacity, mean_frequency
from screening.classify.phonons import atoms_per_formula_unit

MODELS = ("e3nn", "gatgnn", "mat2spec")


def main() -> None:
    """Print a row for each of our models, and one for each published one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    test = load_phdos(given.data, GraphSettings(), pretraining=False).part(Split.TEST)
    crystals, frequencies = test.crystals, PHDOS_GRID.centers
    assert crystals is not None
    amounts = (crystals.n_sites, atoms_per_formula_unit(ElementCounts.from_crystals(crystals)), np.ones(len(crystals)))
    print(
        "| | mean frequency / cm-1 | C_V per cell | per formula unit | per atom | ratio per cell | formula unit | atom |"
    )
    print("|" + "---|" * 8)
    for model in MODELS:
        spectra = load_predictor(model, PHDOS_GRID.name, device="cpu").predict(crystals).spectra
        change = np.abs(mean_frequency(frequencies, spectra) - mean_frequency(frequencies, test.spectra)).mean()
        per_atom = np.abs(heat_capacity(frequencies, spectra, 1.0) - heat_capacity(frequencies, test.spectra, 1.0))
        errors = [float((per_atom * amount).mean()) for amount in amounts]
        cells = [f"{change:.1f}", *(f"{error:.2f}" for error in errors), *(f"{error / change:.3f}" for error in errors)]
        print(f"| {model} | " + " | ".join(cells) + " |")
    for row in PUBLISHED_PHONONS:
        ratio = row.heat_capacity_mae / row.mean_frequency_mae_cm1
        print(
            f"paper, {row.setting}, {row.model}: {row.heat_capacity_mae} / {row.mean_frequency_mae_cm1} = {ratio:.3f}"
        )


if __name__ == "__main__":
    main()
