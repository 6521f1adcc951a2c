"""Measure the peak memory of each stage of a screen: `python benchmarks/peak_memory.py N [--model gatgnn]`.

The source is a table of N cells of one atom, so that hardly more than what a screen keeps of each candidate is counted. DFT is
only queued. Without --model a table of made-up spectra takes the place of a network, whose memory does not depend on N: it
predicts shard by shard. Linux only. `--previous M` screens 8 crystals beside M previous runs of N candidates instead.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from flows import pipeline, stages
from flows.settings import ScreenSettings
from flows.settings_layers import load_settings
from mat2spec.crystals.arrays import Crystals
from mat2spec.external import ExternalPredictions
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.prediction import Prediction
from mat2spec.tables.parquet import ROWS_PER_GROUP, concatenate_tables
from mat2spec.tables.status import Status
from screening.runs.folder import RunFolder
from screening.runs.schemas import TableName

ELEMENTS = np.arange(3, 83)
N_KINDS = 64
MADE_UP = "made up"


class MadeUp(ExternalPredictions):
    """Predicts one of some spectra for each crystal; some have a gap in the valence band."""

    name = MADE_UP
    weights_hash = "none"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._spectra = rng.uniform(1, 5, (N_KINDS, EDOS_GRID.size)).astype(np.float32)
        gapped = (EDOS_GRID.centers > -3) & (EDOS_GRID.centers < -0.6)
        self._spectra[:4, gapped] = 0

    def predict(self, crystals: Crystals, on_batch: Callable[[int], None] | None = None) -> Prediction:
        """Spectra of crystals, in their order."""
        n = len(crystals)
        spectra = self._spectra[np.arange(n) % N_KINDS]
        if on_batch:
            on_batch(n)
        zeros = np.zeros(n, dtype=np.float32)
        ok, nothing = [Status.OK] * n, [""] * n
        return Prediction(
            crystals.material_ids, spectra, spectra.sum(axis=1), 0.1 * spectra, zeros, zeros, ok, nothing,
            self.name, self.weights_hash, EDOS_GRID,
        )  # fmt: skip


def write_source(path: Path, n: int, first: int = 0) -> None:
    """A table of cells of one atom, all different, written piece by piece."""
    starts = range(first, first + n, ROWS_PER_GROUP)
    concatenate_tables(
        path, (source_rows(np.arange(start, min(start + ROWS_PER_GROUP, first + n))) for start in starts)
    )


def source_rows(number: NDArray[np.int64]) -> pa.Table:
    """The cells of these numbers."""
    n = len(number)
    lengths = 2.6 + 0.001 * (number // len(ELEMENTS) % 1000)
    lattices = np.zeros((n, 9))
    lattices[:, [0, 4]] = lengths[:, None]
    lattices[:, 8] = lengths * (1 + 0.01 * (number // len(ELEMENTS) // 1000))
    return pa.table(
        {
            "material_id": [f"cell-{i}" for i in number],
            "lattice": pa.FixedSizeListArray.from_arrays(pa.array(lattices.ravel()), 9),
            "frac_coords": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(3 * n)), 3),
            "atomic_numbers": pa.FixedSizeListArray.from_arrays(pa.array(ELEMENTS[number % len(ELEMENTS)]), 1),
            "energy_above_hull": np.zeros(n),
            "band_gap": np.zeros(n),
        }
    )


def peak_mib() -> float:
    """Peak of the resident memory since `forget_peak`, in MiB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """Let the peak begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def settings_of(folder: Path, model: str | None) -> ScreenSettings:
    """A screen of the table that only queues DFT."""
    words = ["source.kind=parquet", f"source.path={folder / 'source.parquet'}", f"results_dir={folder / 'results'}"]
    words += ["run_dft=false", "filters.n_elements_min=1", "dft.engine=gpaw", f"dft.cache_dir={folder / 'cache'}"]
    words += ["prediction.phonon_model=null"]
    if model is not None:
        words.append(f"prediction.models=[{model}]")
    return load_settings(None, words)


def screen(folder: Path, model: str | None) -> list[tuple[str, float, float]]:
    """Name, seconds of processor time and peak of every stage of a screen."""
    settings = settings_of(folder, model)
    if model is None:
        stages.load_predictors = lambda *_: [MadeUp()]  # type: ignore[assignment,list-item]
    rows = []
    forget_peak()
    start = time.process_time()
    with pipeline.open_run(settings) as run:

        def do(stage: pipeline.Stage) -> pipeline.Done:
            forget_peak()
            start = time.process_time()
            done = pipeline.run_stage(stage, run, settings)
            rows.append((stage.title, time.process_time() - start, peak_mib()))
            return done

        rows.append(("open the source", time.process_time() - start, peak_mib()))
        pipeline.run_stages(run, settings, pipeline.stages_of(settings), do)
    return rows


def add_previous_runs(folder: Path, n_runs: int, n: int) -> None:
    """Copies of the finished run, each with candidates of its own."""
    (first,) = [path for path in (folder / "results").iterdir() if path.is_dir() and not path.is_symlink()]
    info = RunFolder.attach(first).info
    ids = pd.Series([f"other-{i}" for i in range(n)], dtype=object)
    identity = {name: info[name] for name in ("settings", "weights_hashes")}
    one = RunFolder.attach(first).read_table(TableName.CANDIDATES).iloc[[0]]
    for number in range(n_runs):
        rows = one.loc[one.index.repeat(n)].reset_index(drop=True)
        rows = rows.assign(material_id=ids, structure_hash=[f"{number}-{i:064d}" for i in range(n)])
        with RunFolder.open(first.parent, **identity, source_fingerprint=str(number), db_version="1") as run:
            run.write_table(TableName.CANDIDATES, rows)
            run.write_table(TableName.KNOWN_EDOS, rows[["material_id"]].iloc[: n // 3])
            run.finish()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", type=int)
    parser.add_argument("--model", default=None)
    parser.add_argument("--previous", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None, help="where the run folder is left, to be read afterwards")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.keep or Path(name)
        folder.mkdir(exist_ok=True)
        write_source(folder / "source.parquet", 8 if arguments.previous else arguments.n)
        print(f"before: {peak_mib():.0f} MiB", flush=True)
        rows = screen(folder, arguments.model)
        if arguments.previous:
            add_previous_runs(folder, arguments.previous, arguments.n)
            write_source(folder / "source.parquet", 8, first=4)
            rows = screen(folder, arguments.model)
        for title, seconds, peak in rows:
            print(f"{title:22} {seconds:8.1f} s {peak:8.0f} MiB", flush=True)
        print(f"peak {max(peak for *_, peak in rows):.0f} MiB")


if __name__ == "__main__":
    main()
