"""Share of each class among the crystals of the Materials Project, by the spectrum alone and by all that is known.

    OMP_NUM_THREADS=1 python -m scripts.class_shares DATA --work FOLDER [--model student] [--n 10000] [--write]

All of `mp_structures.parquet`, or the first `--n` of a random order that is the same for every model. "Spectrum" is what a
rule for computed spectra makes of the predicted one, as screens did before there was a metal head; "all" is what a screen says
today: spectrum and metal head, the calibrated probability of a gapped metal, and the band gap of the source where it is known.
The counts of each piece of 2,000 crystals are kept in the folder, by weights and calibrations: a stopped count resumes, and
several processes may share one folder. Intervals of a sample are Wilson's at 95 %. With --write the table goes into docs/metals.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from filelock import FileLock, Timeout

from mat2spec import hashes_of_metal_heads
from mat2spec.crystals.arrays import Crystals
from mat2spec.labels.reserved import STRUCTURES_FILE
from mat2spec.prediction import Predictor, load_predictor, predict_with_models
from mat2spec.tables.columns import Column
from mat2spec.tables.files import atomic_path
from mat2spec.tables.parquet import is_true, read_table
from mat2spec.tables.status import Status
from screening.classify import metals
from screening.classify.classes import ElectronicClass, classify
from screening.classify.materials import Materials
from screening.classify.metals import MetalEvidence
from screening.evaluate.confusion import wilson_interval
from scripts.pages import DOCS, put_table

SEED = 2022
N_BLOCK = 2000
WAYS = ("spectrum", "spectrum and metal head", "all")
NOT_PREDICTED, GAPPED_METAL, KNOWN_GAP = "not predicted", "gapped metal", "known gap"


def main() -> None:
    """Count what is not counted yet, and print the table if nothing is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder in which the counts are kept")
    parser.add_argument("--model", default="student")
    parser.add_argument("--n", type=int, help="crystals of the random order; all if not given")
    parser.add_argument("--write", action="store_true", help="put the table into docs/metals.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.work.mkdir(parents=True, exist_ok=True)
    table = read_table(given.data / STRUCTURES_FILE)
    n = min(given.n or len(table), len(table))
    order = np.random.default_rng(SEED).permutation(len(table))
    predictor = load_predictor(given.model, device="cpu")
    name = f"{given.model}-{identity(predictor, len(table))}"
    blocks = [order[start : min(start + N_BLOCK, n)] for start in range(0, n, N_BLOCK)]
    files = [given.work / f"{name}-{index:03}-{len(rows)}.json" for index, rows in enumerate(blocks)]
    for file, rows in zip(files, blocks, strict=True):
        count_block(predictor, table, rows, file)
    missing = [file for file in files if not file.exists()]
    if missing:
        print(f"Another process counts {len(missing)} of {len(files)} pieces; give the command again for the table.")
        return
    counts = add_up([json.loads(file.read_text()) for file in files])
    print(
        f"{given.model}: {n:,} of {len(table):,} crystals, {counts['crystals'][KNOWN_GAP] / n:.0%} with a known gap\n"
    )
    shares = table_of(counts, n, len(table))
    print(shares)
    if given.write:
        put_table(DOCS / "metals.md", f"### By `{given.model}`", shares)


def identity(predictor: Predictor, n: int) -> str:
    """Of everything that decides a class: weights, metal heads, calibrations, and the size of the source."""
    files = sorted(Path(metals.__file__).parent.glob("*.json"))
    parts = [
        predictor.weights_hash,
        str(sorted(hashes_of_metal_heads().items())),
        str(n),
        *(file.read_text() for file in files),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def count_block(predictor: Predictor, table: pa.Table, rows: np.ndarray, file: Path) -> None:
    """Write the counts of some crystals, unless they are there or another process is counting them."""
    if file.exists():
        return
    try:
        with FileLock(file.with_suffix(".lock"), timeout=0):
            if file.exists():
                return
            part = table.take(np.sort(rows))
            found = count(predictor, Crystals.from_arrow(part), part[Column.BAND_GAP].to_numpy().astype(np.float64))
            with atomic_path(file) as temporary:
                temporary.write_text(json.dumps(found))
            print(f"{file.name}: counted", flush=True)
    except Timeout:
        return


def count(predictor: Predictor, crystals: Crystals, band_gaps: np.ndarray) -> dict[str, dict[str, int]]:
    """Crystals of each class by the spectrum, by spectrum and metal head, and with known band gaps too."""
    (prediction,) = predict_with_models([predictor], crystals)
    materials = Materials.of_crystals(crystals)
    evidence = MetalEvidence.of_prediction(prediction)
    failed = np.array([status != Status.OK for status in prediction.status])
    known = replace(evidence, band_gaps_ev=np.where(failed, np.nan, band_gaps))
    counts: dict[str, dict[str, int]] = {"crystals": {KNOWN_GAP: int(np.isfinite(band_gaps).sum())}}
    for way, heard in zip(WAYS, (None, evidence, known), strict=True):
        classes = classify(prediction.spectra, materials, evidence=heard)
        of_class = {str(name): int((classes[Column.ELECTRONIC_CLASS] == name).sum()) for name in ElectronicClass}
        of_class[NOT_PREDICTED] = int(classes[Column.IS_METAL].isna().sum())
        of_class[GAPPED_METAL] = int(is_true(classes[Column.IS_GAPPED_METAL]).sum())
        counts[way] = of_class
    return counts


def add_up(counts: list[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """The counts of all pieces together."""
    return {way: {name: sum(part[way][name] for part in counts) for name in counts[0][way]} for way in counts[0]}


def table_of(counts: dict[str, dict[str, int]], n: int, of: int) -> str:
    """A row of shares in percent for each class; with intervals where the crystals are a sample."""
    rows = [f"| percent of {n:,} | {' | '.join(WAYS)} |", "|---|---|---|---|"]
    for name in (*map(str, ElectronicClass), NOT_PREDICTED, GAPPED_METAL):
        cells = " | ".join(share(counts[way][name], n, is_sample=n < of) for way in WAYS)
        rows.append(f"| {name} | {cells} |")
    return "\n".join(rows)


def share(part: int, n: int, *, is_sample: bool) -> str:
    """A share in percent."""
    ends = wilson_interval(part, n)
    if not is_sample or ends.low is None or ends.high is None:
        return f"{100 * part / n:.1f}"
    return f"{100 * part / n:.1f} ({100 * ends.low:.1f}-{100 * ends.high:.1f})"


if __name__ == "__main__":
    main()
