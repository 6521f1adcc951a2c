"""Print how many crystals a second become graphs and spectra.

    python benchmarks/speed.py [TABLE] [--crystals 2000] [--threads 1]

TABLE is a Parquet table of crystals; the embedded catalogue by default.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.building import build_graphs
from mat2spec.prediction import load_predictor
from screening.settings import SourceSettings
from screening.sources.opening import open_source

MODELS = ("mat2spec", "gatgnn")
REPEATS = 3


def best_rate(work: Callable[[], object], n_crystals: int) -> float:
    """Crystals per second of the fastest of some repeats; the first one warms up and is not counted."""
    seconds = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return n_crystals / min(seconds[1:])


def draw_crystals(table: Path | None, n_crystals: int) -> Crystals:
    """A random sample of the crystals of a table, always the same."""
    settings = SourceSettings() if table is None else SourceSettings(kind="parquet", path=table)
    source = open_source(settings)
    ids = source.properties()["material_id"].to_numpy()
    chosen = np.random.default_rng(0).choice(ids, min(n_crystals, len(ids)), replace=False)
    return source.crystals(chosen.tolist())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("--crystals", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    crystals = draw_crystals(arguments.table, arguments.crystals)
    graphs, problems = build_graphs(crystals)
    print(f"{len(crystals)} crystals, {crystals.n_sites.mean():.1f} atoms on average, {arguments.threads} thread(s)")
    print(f"{graphs.n_nodes.sum() / crystals.n_sites.sum():.0%} of the atoms are distinct nodes")
    print(f"graphs:   {best_rate(lambda: build_graphs(crystals), len(crystals)):8.0f} /s (one thread)")
    for model in MODELS:
        predictor = load_predictor(model, device="cpu")
        rate = best_rate(
            lambda: predictor.predict_graphs(crystals.material_ids, graphs, problems),  # noqa: B023 - called at once
            len(crystals),
        )
        print(f"{model + ':':9} {rate:8.0f} /s (shape and scale, graphs given)")


if __name__ == "__main__":
    main()
