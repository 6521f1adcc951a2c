"""Time against atoms per cell and number of crystals, memory against number of crystals: a table, slopes and a picture.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py DATA [--memory peak_50000.txt peak_200000.txt]

Times are processor time on one core of random crystals of `DATA/mp_structures.parquet` with about 2, 4, 8, 16, 32 and 56 atoms in
the primitive cell: graphs, `student` from crystals to the table, tight binding (up to 60 atoms); and of `student` for 64 to 512
crystals. --memory reads what `benchmarks/peak_memory.py N` printed, as files named after N. Slopes are those of straight
lines in the logarithms. Writes `benchmarks/scaling.csv` and `docs/scaling.png`. Two minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive import CellSizes
from mat2spec.graphs.building import build_graphs
from mat2spec.prediction import load_predictor, predict_with_models
from mat2spec.spectra.prediction import predictions_table
from screening.settings import SourceKind, SourceSettings
from screening.sources.opening import open_source

TABLE, PICTURE = Path("benchmarks/scaling.csv"), Path("docs/scaling.png")
ATOMS = (2, 4, 8, 16, 32, 56)
# Crystals of each size for a fast and for an accurate model.
N_FAST, N_ACCURATE = 48, 6
COUNTS = (64, 128, 256, 512)
N_DRAWN = 12_000


def draw(data: Path) -> tuple[Crystals, np.ndarray]:
    """Random crystals and the atoms in their primitive cells."""
    source = open_source(SourceSettings(kind=SourceKind.PARQUET, path=data / "mp_structures.parquet"))
    ids = source.properties()["material_id"].to_numpy()
    crystals = source.crystals(np.random.default_rng(0).choice(ids, N_DRAWN, replace=False).tolist())
    return crystals, CellSizes.of_crystals(crystals).n_primitive


def seconds_each(work: Callable[[Crystals], object], crystals: Crystals) -> float:
    """Processor time per crystal, the better of two runs."""
    taken = []
    for _ in range(2):
        start = time.process_time()
        work(crystals)
        taken.append(time.process_time() - start)
    return min(taken) / len(crystals)


def works() -> dict[str, tuple[Callable[[Crystals], object], int]]:
    """What is timed, and for how many crystals."""
    student, accurate = load_predictor("student"), load_predictor("tight-binding")

    def fast(crystals: Crystals) -> None:
        predictions_table(predict_with_models([student], crystals)[0])

    def slow(crystals: Crystals) -> None:
        predictions_table(predict_with_models([accurate], crystals)[0])

    return {
        "graphs": (build_graphs, N_FAST),
        "student": (fast, N_FAST),
        "tight-binding": (slow, N_ACCURATE),
    }


def measure(data: Path) -> pd.DataFrame:
    """Milliseconds per crystal against atoms, and seconds against the number of crystals."""
    crystals, n_primitive = draw(data)
    rows = []
    timed = works()
    for name, (work, most) in timed.items():
        for atoms in ATOMS:
            near = np.flatnonzero(np.abs(n_primitive / atoms - 1) <= 0.07)[:most]
            chosen = crystals.take(near)
            milliseconds = 1e3 * seconds_each(work, chosen)
            rows.append(("time by atoms", name, float(n_primitive[near].mean()), milliseconds, "ms per crystal"))
    for count in COUNTS:
        some = crystals.take(np.arange(count))
        rows.append(("time by crystals", "student", count, count * seconds_each(timed["student"][0], some), "s"))
    return pd.DataFrame(rows, columns=["curve", "what", "x", "y", "unit"])


def read_memory(paths: list[Path]) -> pd.DataFrame:
    """Peaks of stages from what `benchmarks/peak_memory.py` printed."""
    rows = [
        ("memory by crystals", "whole screen", int(path.stem.split("_")[-1]), float(line.split()[1]), "MiB")
        for path in paths
        for line in path.read_text().splitlines()
        if line.startswith("peak")
    ]
    return pd.DataFrame(rows, columns=["curve", "what", "x", "y", "unit"])


def slope(x: pd.Series, y: pd.Series) -> float:
    """Exponent of the power law through points."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def plot(table: pd.DataFrame, path: Path) -> None:
    """One panel for each kind of curve."""
    curves = list(table.groupby("curve", sort=False))
    figure = Figure(figsize=(4 * len(curves), 3.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(curves)))
    for axes, (curve, rows) in zip(panels, curves, strict=True):
        for what, points in rows.groupby("what", sort=False):
            label = f"{what}, slope {slope(points['x'], points['y']):.2f}" if len(points) > 1 else str(what)
            axes.plot(points["x"], points["y"], "o-", label=label)
        x = "atoms in the primitive cell" if curve.endswith("atoms") else "crystals"
        axes.set(xscale="log", yscale="log", xlabel=x, ylabel=f"{curve.split()[0]} / {rows['unit'].iloc[0]}")
        places = rows["x"].round().astype(int).unique()
        axes.set_xticks(places, [f"{place:,}" for place in places])
        axes.xaxis.minorticks_off()
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, write, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--memory", nargs="*", type=Path, default=[])
    given = parser.parse_args()
    torch.set_num_threads(1)
    parts = [measure(given.data), *([read_memory(given.memory)] if given.memory else [])]
    table = pd.concat(parts, ignore_index=True)
    table.round({"x": 1, "y": 3}).to_csv(TABLE, index=False)
    plot(table, PICTURE)
    for (curve, what), points in table.groupby(["curve", "what"], sort=False):
        print(
            f"{curve}, {what}: slope {slope(points['x'], points['y']):.2f}" if len(points) > 1 else f"{curve}, {what}"
        )
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
