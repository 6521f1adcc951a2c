"""Share of each class among the crystals of the Materials Project, by the spectrum alone and by all that is known.

    OMP_NUM_THREADS=1 python -m scripts.class_shares DATA [--model student] [--n 10000]

A random sample of `mp_structures.parquet`, the same for every model. "Spectrum" is what a rule for computed spectra makes of
the predicted one, as screens did before there was a metal head; "all" is what a screen says today: spectrum and metal head,
the calibrated probability of a gapped metal, and the band gap of the source where it is known. Intervals are Wilson's at 95 %.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mat2spec.crystals.arrays import Crystals
from mat2spec.labels.reserved import STRUCTURES_FILE
from mat2spec.prediction import Predictor, load_predictor, predict_with_models
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import read_table
from mat2spec.tables.status import Status
from screening.classify.classes import ElectronicClass, classify
from screening.classify.materials import Materials
from screening.classify.metals import MetalEvidence
from screening.evaluate.confusion import wilson_interval
from screening.evaluate.evaluation import is_true

SEED = 2022
N_BLOCK = 2000


def main() -> None:
    """Predict, classify in three ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="student")
    parser.add_argument("--n", type=int, default=10_000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = read_table(given.data / STRUCTURES_FILE)
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(table))[: given.n])
    crystals = Crystals.from_arrow(table.take(chosen))
    band_gaps = table[Column.BAND_GAP].take(chosen).to_numpy().astype(np.float64)
    predictor = load_predictor(given.model, device="cpu")
    found = [
        judge(predictor, crystals.take(rows), band_gaps[rows])
        for rows in np.array_split(np.arange(len(crystals)), max(1, len(crystals) // N_BLOCK))
    ]
    ways = [pd.concat(parts, ignore_index=True) for parts in zip(*found, strict=True)]
    print(
        f"{given.model}: {len(crystals):,} of {len(table):,} crystals, {np.isfinite(band_gaps).mean():.0%} with a known gap\n"
    )
    print("| class | spectrum | spectrum and metal head | all |\n|---|---|---|---|")
    for name in ElectronicClass:
        print_row(name, [(way[Column.ELECTRONIC_CLASS] == name).to_numpy() for way in ways])
    print_row("not predicted", [way[Column.IS_METAL].isna().to_numpy() for way in ways])
    print_row("gapped metal", [is_true(way[Column.IS_GAPPED_METAL]) for way in ways])


def judge(
    predictor: Predictor, crystals: Crystals, band_gaps: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Classes by the spectrum, by spectrum and metal head, and with known band gaps too."""
    (prediction,) = predict_with_models([predictor], crystals)
    materials = Materials.of_crystals(crystals)
    evidence = MetalEvidence.of_prediction(prediction)
    failed = np.array([status != Status.OK for status in prediction.status])
    known = replace(evidence, band_gaps_ev=np.where(failed, np.nan, band_gaps))
    alone, heard, everything = (
        classify(prediction.spectra, materials, evidence=way) for way in (None, evidence, known)
    )
    return alone, heard, everything


def print_row(name: str, flags: list[np.ndarray]) -> None:
    """A row of shares in percent, with intervals."""
    cells = []
    for flag in flags:
        ends = wilson_interval(int(flag.sum()), len(flag))
        assert ends.low is not None
        assert ends.high is not None
        cells.append(f"{100 * flag.mean():.1f} ({100 * ends.low:.1f}-{100 * ends.high:.1f})")
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
