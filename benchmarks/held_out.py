"""Print how well the shipped weights predict materials that they were not trained on.

    python benchmarks/held_out.py DATA

DATA is the folder of labelled spectra. Blind: the scale is predicted (phonons: 3N). Oracle: the
predicted shape times the label's own sum, as several papers report; never to be mixed with blind.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from mat2spec.datasets import LabelledSpectra, load_edos, load_phdos
from mat2spec.graphs import GraphSettings
from mat2spec.metrics import evaluate_spectra
from mat2spec.prediction import load_predictor

MODELS = ("mat2spec", "gatgnn")
HELD_OUT = ("valid", "test")


def predict_cells(data: LabelledSpectra, model: str) -> NDArray[np.float64]:
    """Blind predictions per cell for all materials of a data set, shape (n, size)."""
    predictor = load_predictor(model, data.grid.name)
    prediction = predictor.predict_graphs(data.material_ids, data.graphs, [None] * len(data))
    return prediction.spectra.astype(np.float64)


def add_rows(table: Table, data: LabelledSpectra, model: str, split: str) -> None:
    """Add the blind and the oracle row of one model on one split."""
    true = data.spectra.astype(np.float64) * data.graphs.n_atoms[:, None]
    blind = predict_cells(data, model)
    oracle = blind * (true.sum(axis=1) / blind.sum(axis=1))[:, None]
    for scale, predicted in (("blind", blind), ("oracle", oracle)):
        scores = evaluate_spectra(true, predicted, data.grid)
        numbers = [f"{scores[name]:.3g}" for name in ("r2", "mae", "mse", "wasserstein")]
        table.add_row(data.grid.name, model, split, str(len(data)), scale, *numbers, data.grid.unit)


def main() -> None:
    """Read the data, predict, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data_dir = parser.parse_args().data
    table = Table("spectrum", "model", "split", "n", "scale", "R2", "MAE", "MSE", "WD", "unit of WD")
    graphs = GraphSettings()
    for data in (load_phdos(data_dir, graphs, pretraining=False), load_edos(data_dir, graphs)):
        for model in MODELS:
            for split in HELD_OUT:
                add_rows(table, data.part(split), model, split)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
