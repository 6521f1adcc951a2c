"""How many gapped metals each rule finds in cells of each size, and the thresholds per atom that agree with those per cell.

    python benchmarks/cell_size_rules.py DATA fit                            # thresholds per atom
    python benchmarks/cell_size_rules.py DATA count --n 4000 --model mat2spec # table of docs/benchmarks.md

`fit` takes computed spectra of primitive cells with at most eight atoms: the labels of the project and of the folder
DATA, none of them of a reserved formula. A threshold per atom is chosen so that the classes that it gives agree with the
per-cell ones as well as possible (Matthews correlation coefficient), first that of the gap, then that of the metal.
`count` predicts a random sample of `mp_structures.parquet` in DATA.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive import CellSizes
from mat2spec.prediction import load_predictor
from mat2spec.settings import DATA_DIR
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.columns import CRYSTAL_COLUMNS, Column
from mat2spec.tables.parquet import is_true, matrix_column
from screening.classify.gaps import classify_spectra
from screening.evaluate.confusion import count
from screening.settings import GapSettings

SMALL_CELL = 8
GRID_OF_THRESHOLDS = np.geomspace(0.002, 0.6, 115)
SIZE_CLASSES = (1, 3, 6, 9, 13, 21, 41, 81, 10_000)
SEED = 2022


def main() -> None:
    """Read the arguments and print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("what", choices=["fit", "count"])
    parser.add_argument("--n", type=int, default=4000, help="Crystals to predict.")
    parser.add_argument("--model", default="mat2spec")
    given = parser.parse_args()
    if given.what == "fit":
        fit(*read_labels(given.data))
    else:
        print(count_by_size(given.data, given.n, given.model).to_string(index=False))


def read_labels(data: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Computed spectra of small primitive cells, shape (n, 128), and their numbers of sites."""
    spectra, n_sites = [], []
    for path in (data / "edos_pbe.parquet", data / "edos_pbe_natural.parquet", DATA_DIR / "edos_store.parquet"):
        table = pq.read_table(path)
        sizes = CellSizes.of_crystals(Crystals.from_arrow(table))
        share = sizes.n_primitive / sizes.n_sites
        spectra.append(matrix_column(table, Column.EDOS, EDOS_GRID.size) * share[:, None])
        n_sites.append(sizes.n_primitive)
    for path in sorted((DATA_DIR / "edos_store").glob("*.parquet")):
        table = pq.read_table(path, columns=[Column.EDOS, Column.NSITES])
        spectra.append(matrix_column(table, Column.EDOS, EDOS_GRID.size))
        n_sites.append(table[Column.NSITES].to_numpy())
    sites = np.concatenate(n_sites).astype(np.int64)
    return np.concatenate(spectra)[sites <= SMALL_CELL], sites[sites <= SMALL_CELL]


def fit(spectra: NDArray[np.float64], n_sites: NDArray[np.int64]) -> None:
    """Print the two thresholds per atom that agree best with the default rule per cell, and how well they do."""
    per_cell = classify_spectra(spectra, EDOS_GRID, GapSettings())
    print(f"{len(spectra)} spectra of primitive cells with at most {SMALL_CELL} atoms, {n_sites.mean():.1f} on average")
    for setting, flag in (
        ("dos_threshold_states_per_ev_per_atom", Column.HAS_VB_GAP),
        ("metal_dos_threshold_states_per_ev_per_atom", Column.IS_METAL),
    ):
        truth = per_cell[flag].to_numpy(dtype=np.bool_)
        best, agreement = _best(lambda value: _flags(spectra, n_sites, setting, value, flag), truth)  # noqa: B023  called at once
        print(f"{setting} = {best:.3g}: MCC {agreement:.3f} with {flag} per cell, {truth.sum()} of {len(truth)} true")


def _flags(
    spectra: NDArray[np.float64], n_sites: NDArray[np.int64], setting: str, value: float, flag: Column
) -> NDArray[np.bool_]:
    rule = GapSettings(per_atom=True, confidence_steps=3, **{setting: value})
    return classify_spectra(spectra, EDOS_GRID, rule, n_sites)[flag].to_numpy(dtype=np.bool_)


def _best(flags_of: Callable[[float], NDArray[np.bool_]], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """The threshold with the highest correlation, in the middle of those that share it, and the correlation."""
    scores = np.array([count(flags_of(float(value)), truth).mcc or 0.0 for value in GRID_OF_THRESHOLDS])
    best = np.flatnonzero(scores == scores.max())
    return float(GRID_OF_THRESHOLDS[best].mean()), float(scores.max())


def count_by_size(data: Path, n: int, model: str) -> pd.DataFrame:
    """Predicted gapped metals among random crystals by the size of their primitive cell, under either rule."""
    table = pq.read_table(data / "mp_structures.parquet", columns=list(CRYSTAL_COLUMNS))
    rows = np.sort(np.random.default_rng(SEED).choice(table.num_rows, n, replace=False))
    crystals = Crystals.from_arrow(table.take(rows))
    prediction, sizes = load_predictor(model).predict(crystals), CellSizes.of_crystals(crystals)
    flags = {}
    for per_atom in (False, True):
        rule = GapSettings(per_atom=per_atom)
        classes = classify_spectra(prediction.spectra, EDOS_GRID, rule, sizes.n_sites, sizes.n_primitive)
        flags[per_atom] = is_true(classes[Column.IS_GAPPED_METAL])
    groups = np.digitize(sizes.n_primitive, SIZE_CLASSES)
    lines = []
    for index, (low, high) in enumerate(pairwise(SIZE_CLASSES), 1):
        members = groups == index
        name = f"{low}-{high - 1}" if high < SIZE_CLASSES[-1] else f"{low} and more"
        found = [int(flags[per_atom][members].sum()) for per_atom in (False, True)]
        both = int((flags[False] & flags[True] & members).sum())
        lines.append((name, int(members.sum()), *found, both))
    total = tuple(sum(line[column] for line in lines) for column in range(1, 5))
    names = ["sites, primitive", "crystals", "per cell", "per atom", "by both"]
    return pd.DataFrame([*lines, ("all", *total)], columns=names)


if __name__ == "__main__":
    main()
