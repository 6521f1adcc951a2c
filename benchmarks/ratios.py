"""How much faster than plain code, as ratios of processor time in the same run; a check that fails if one falls by a fifth.

    OMP_NUM_THREADS=1 python -m benchmarks.ratios [--only graphs bands] [--device cuda] [--write | --check]

Each part is timed beside a plain reference that does the same: graphs as by CGCNN's published recipe, one crystal at a time
instead of batches, SevenNet's packaged convolution, complex matrices of all k-points. The machine and its load largely drop
out of the ratio. Crystals are those of the embedded catalogue: `small` of up to 8 sites, `large` of 20 to 56. --write puts
ratios, date and hardware into `ratios.json` and docs/benchmarks.md, --check compares with it. Two minutes of processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from benchmarks.test_speed import BATCH, TrainingStep
from flows.settings import FunnelSettings
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.primitive import CellSizes
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors import sevennet
from mat2spec.descriptors.kinds import SevenNetVersion
from mat2spec.descriptors.sevennet import site_scalars
from mat2spec.descriptors.site_images import SiteImages
from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.graphs.building import build_graphs
from mat2spec.prediction import load_predictor, predict_with_models
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.prediction import predictions_table
from mat2spec.spectrum_predictor import SpectrumPredictor
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import list_column
from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.model import TightBinding
from mat2spec.tight_binding.predictor import TightBindingPredictor
from mat2spec.tight_binding.problem import PreparationSettings, prepare
from mat2spec.tight_binding.real_basis import RealBasis
from screening.classify.predictions import classify_piece, columns_to_classify
from screening.settings import ClassifySettings, GapSettings, SourceSettings
from screening.sources.opening import open_source
from scripts.pages import DOCS, put_table

RESULTS = Path(__file__).with_name("ratios.json")
SIZES = {"small": (1, 8, 128), "large": (20, 56, 12)}
GRAPH_MODELS = ("student", "mat2spec", "gatgnn")
# A ratio may fall to this share of the one on record.
LEAST_SHARE = 0.8
REPEATS = 3
# Candidates of the whole Materials Project, of which the funnel passes `max_accurate` and `n_sample`.
N_FUNNEL = 154_925
Work = Callable[[], object]
Rows = Iterator[tuple[str, float, float]]


def seconds(work: Work, repeats: int = REPEATS) -> float:
    """Processor time of the fastest of some repeats, after one that warms up."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


@cache
def crystals_of(size: str) -> Crystals:
    """A random sample, always the same."""
    source = open_source(SourceSettings())
    table = source.properties()
    least, most, n = SIZES[size]
    ids = table[Column.MATERIAL_ID][table[Column.NSITES].between(least, most)].to_numpy()
    return source.crystals(np.random.default_rng(0).choice(ids, n, replace=False).tolist())


@cache
def cells_of(size: str, most: int) -> tuple[PrimitiveCell, ...]:
    """Primitive cells of some of them."""
    crystals = crystals_of(size)
    return tuple(PrimitiveCell.of_crystal(crystals, index) for index in range(min(most, len(crystals))))


def one_by_one(crystals: Crystals) -> list[Crystals]:
    """Each crystal alone."""
    return [crystals.take(np.array([index])) for index in range(len(crystals))]


def graphs_by_the_published_recipe(crystals: Crystals) -> None:
    """Twelve nearest neighbours of every site by pymatgen, distances spread over Gaussians (CGCNN, Mat2Spec)."""
    centers = np.arange(0, 8.2, 0.2)
    for index in range(len(crystals)):
        for neighbours in crystals.structure(index).get_all_neighbors(8.0, include_index=True):
            nearest = sorted(neighbours, key=lambda one: one.nn_distance)[:12]
            np.exp(-((np.array([one.nn_distance for one in nearest])[:, None] - centers) ** 2) / 0.04)


def graphs(_: str) -> Rows:
    """Crystals to graphs."""
    for size in SIZES:
        crystals = crystals_of(size)
        ours = seconds(lambda c=crystals: build_graphs(c))  # type: ignore[misc]
        yield size, ours, seconds(lambda c=crystals: graphs_by_the_published_recipe(c), 1)  # type: ignore[misc]


def inference(device: str) -> Rows:
    """Graphs to spectra by the graph models, beside one graph at a time."""
    for model in GRAPH_MODELS:
        predictor = load_predictor(model, device=device)
        assert isinstance(predictor, SpectrumPredictor)
        for size in SIZES:
            crystals = crystals_of(size)
            made, problems = build_graphs(crystals, predictor.graph_settings)
            single = [(one, *build_graphs(one, predictor.graph_settings)) for one in one_by_one(crystals)]

            def batched(p: SpectrumPredictor = predictor, c: Crystals = crystals, g: CrystalGraphs = made) -> None:
                p.predict_graphs(c.material_ids, g, problems)  # noqa: B023 - called at once

            def alone(p: SpectrumPredictor = predictor) -> None:
                for one, graph, problem_of in single:  # noqa: B023 - called at once
                    p.predict_graphs(one.material_ids, graph, problem_of)

            yield f"{model}, {size}", seconds(batched), seconds(alone, 1)


def training(_: str) -> Rows:
    """A training step of 64 crystals, beside 64 steps of one."""
    made, problems = build_graphs(crystals_of("small"))
    usable = made.take(np.flatnonzero([reason is None for reason in problems]))
    step, rows = TrainingStep(usable), np.arange(BATCH)
    yield "small", seconds(lambda: step(rows)), seconds(lambda: [step(rows[[row]]) for row in rows], 1)


def descriptors(_: str) -> Rows:
    """SevenNet's description of sites, beside its packaged convolution at every atom."""
    version = SevenNetVersion.SEVENNET_0
    for size, most in (("small", 24), ("large", 4)):
        cells = cells_of(size, most)
        ours = seconds(lambda c=cells: site_scalars(c, version))  # type: ignore[misc]
        sevennet.potential.cache_clear()
        with (
            patch.object(sevennet, "EdgeConvolution", lambda packaged: packaged),
            patch.object(sevennet.SiteImages, "of", lambda cell: SiteImages.each_its_own(cell.n_atoms)),
        ):
            plain = seconds(lambda c=cells: site_scalars(c, version))  # type: ignore[misc]
        sevennet.potential.cache_clear()
        yield size, ours, plain


def complex_matrices(crystal: TightBindingCrystal, kpoints: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlap and Hamiltonian in double precision, summed over one pair of atoms after the other."""
    basis = crystal.basis
    phases = np.exp(2j * np.pi * (kpoints @ crystal.offsets.T))
    matrices = np.zeros((2, len(kpoints), basis.size, basis.size), dtype=np.complex128)
    changes = np.diff(crystal.first * basis.n_atoms + crystal.second, prepend=-1, append=-1)
    for start, end in pairwise(np.flatnonzero(changes).tolist()):
        rows, columns = (
            slice(basis.first_orbital[atom], basis.first_orbital[atom + 1])
            for atom in (crystal.first[start], crystal.second[start])
        )
        blocks = crystal.blocks[start:end, :, : rows.stop - rows.start, : columns.stop - columns.start]
        summed = phases[:, start:end] @ blocks.reshape(end - start, -1)
        matrices[:, :, rows, columns] = summed.reshape(len(kpoints), *blocks.shape[1:]).swapaxes(0, 1)
    matrices += matrices.conj().swapaxes(-1, -2)
    matrices[0] += np.eye(basis.size)
    overlap, hopping = torch.from_numpy(matrices).to(torch.complex64)
    return overlap, hopping


def bands(_: str) -> Rows:
    """Sites to spectra by tight binding, beside complex matrices of all k-points."""
    predictor = load_predictor("tight-binding")
    assert isinstance(predictor, TightBindingPredictor)
    model: TightBinding = predictor.model
    settings = PreparationSettings(model.settings.kpoints_per_atom, dtype=torch.complex64, equal_orbits=True)

    for size, most in (("small", 16), ("large", 4)):
        cells = cells_of(size, most)
        described = [torch.from_numpy(values) for values in site_scalars(cells, model.settings.descriptors)]

        @torch.no_grad()
        def solve(cells: tuple[PrimitiveCell, ...] = cells, values: list[torch.Tensor] = described) -> None:
            for cell, of_sites in zip(cells, values, strict=True):
                model(prepare(cell, settings), of_sites)

        # As in the threads of a prediction.
        torch.set_flush_denormal(True)
        ours = seconds(solve)
        torch.set_flush_denormal(False)
        with patch.object(RealBasis, "matrices", lambda basis, kpoints: complex_matrices(basis.crystal, kpoints)):
            yield size, ours, seconds(solve)


def end_to_end(device: str) -> Rows:
    """Crystals to rows of the table by the student, beside one crystal at a time."""
    predictor = load_predictor("student", device=device)
    crystals = crystals_of("small")

    def rows(of: Crystals) -> None:
        (prediction,) = predict_with_models([predictor], of)
        predictions_table(prediction)

    yield "small", seconds(lambda: rows(crystals)), seconds(lambda: [rows(one) for one in one_by_one(crystals)], 1)


def funnel(device: str) -> Rows:
    """The funnel over the Materials Project from the rates of both models, beside tight binding for all."""
    crystals = crystals_of("large").take(np.arange(6))
    fast, accurate = (load_predictor(name, device=device) for name in ("student", "tight-binding"))
    each = [seconds(lambda p=p: predict_with_models([p], crystals), 1) / len(crystals) for p in (fast, accurate)]  # type: ignore[misc]
    limits = FunnelSettings()
    yield "large", N_FUNNEL * each[0] + (limits.max_accurate + limits.n_sample) * each[1], N_FUNNEL * each[1]


def memory(_: str) -> Rows:
    """Peak of Python's memory in MB while 32,768 spectra are classified in pieces, beside all at once."""
    n, rng = 4 * 8192, np.random.default_rng(0)
    spectra = rng.uniform(0.1, 4, (n, EDOS_GRID.size)).astype(np.float32)
    ids = [f"cell-{index}" for index in range(n)]
    table = pa.table(
        {
            Column.MATERIAL_ID: ids,
            Column.MODEL: ["made up"] * n,
            Column.EDOS: list_column(spectra),
            Column.UNCERTAINTY: list_column(0.1 * spectra),
        }
    )
    table = table.select(columns_to_classify(table.column_names))
    sizes = CellSizes(np.full(n, 2), np.full(n, 2), np.full(n, 40.0))
    candidates = pd.DataFrame({Column.MATERIAL_ID: ids, Column.BAND_GAP: np.zeros(n), **sizes.columns()})
    candidates[Column.NSITES] = 2
    elements = ElementCounts.from_lists([pa.chunked_array([[[11, 17]] * n])])

    def peak(piece: int) -> float:
        tracemalloc.start()
        for start in range(0, n, piece):
            classify_piece(table[start : start + piece], candidates, elements, GapSettings(), ClassifySettings())
        most = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        return most

    yield "classification", peak(8192), peak(n)


PARTS = {part.__name__: part for part in (graphs, inference, training, descriptors, bands, end_to_end, funnel, memory)}


def hardware(device: str) -> str:
    """Processor, or GPU, in words."""
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"one core of {os.cpu_count()}, {names[0].split(':')[1].strip() if names else platform.processor()}"


def measure(names: list[str], device: str) -> dict[str, dict[str, float]]:
    """Processor time, that of the plain reference, and their ratio, of each case."""
    torch.set_num_threads(1)
    found = {}
    for name in names:
        for case, ours, plain in PARTS[name](device):
            found[f"{name}, {case}"] = {"ours": ours, "plain": plain, "ratio": plain / ours}
            print(f"{name + ', ' + case:32} {ours:10.3f} {plain:10.3f} {plain / ours:8.2f}", flush=True)
    return found


def fallen(found: dict[str, dict[str, float]], recorded: dict[str, dict[str, float]]) -> list[str]:
    """Ratios that fell by more than a fifth, as sentences."""
    return [
        f"{name}: {values['ratio']:.2f} times faster than plain code, {recorded[name]['ratio']:.2f} on record."
        for name, values in found.items()
        if name in recorded and values["ratio"] < LEAST_SHARE * recorded[name]["ratio"]
    ]


def table_of(entry: dict[str, Any]) -> str:
    """What is on record for a device, for the page."""
    lines = [f"| {entry['hardware']}, {entry['date']} | ours | plain | ratio |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {values['ours']:.3g} | {values['plain']:.3g} | {values['ratio']:.2f} |"
        for name, values in entry["ratios"].items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1: threads that wait for each other count as processor time.")
    if given.write and set(given.only) != set(PARTS):
        parser.error("--write replaces the whole record: measure all parts, without --only.")
    recorded = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if given.check and given.device not in recorded:
        parser.error(f"no ratios of '{given.device}' are on record; measure them with --write.")
    print(f"{'':32} {'ours':>10} {'plain':>10} {'ratio':>8}")
    found = measure(given.only, given.device)
    if given.write:
        entry = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "hardware": hardware(given.device), "ratios": found}
        recorded[given.device] = entry
        RESULTS.write_text(json.dumps(recorded, indent=1) + "\n")
        if given.device == "cpu":
            put_table(DOCS / "benchmarks.md", "### Ratios that are watched", table_of(entry))
    if given.check and (worse := fallen(found, recorded[given.device]["ratios"])):
        sys.exit("\n".join(worse))


if __name__ == "__main__":
    main()
