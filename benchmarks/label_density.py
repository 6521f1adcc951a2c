"""How dense the k-mesh of a label must be: spectra at several densities against the densest one.

    MAT2SPEC_DATA_DIR=DATA python benchmarks/label_density.py --n 30 --results FOLDER

With --output FOLDER the differences are written as label noise of the benchmark whose results are in that folder.
The crystals are the first of the label plan whose estimated cost at the plan's density is low enough to be computed at
five times as much. The level of theory is that of the labels. Finished calculations stay in the folder of the results.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from dft_validation.labels.plan import read_plan
from dft_validation.queue.plan import plan_jobs
from dft_validation.queue.workers import run_jobs
from dft_validation.results.document import EdosDocument
from dft_validation.settings import DftSettings, LabelPlanSettings
from mat2spec.benchmark.label_noise import ExactLabels, LabelNoise, compare_labels, write_label_noise
from mat2spec.crystals.arrays import Crystals
from mat2spec.settings import DATA_DIR
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.metrics import r2_score, wasserstein_distances
from mat2spec.tables.columns import Column
from screening.evaluate.gap_scores import find_gapped_metals
from screening.sources.parquet import ParquetSource

BROADENING_EV = 0.2


def settings_at(density: float, folder: Path) -> DftSettings:
    """Those of the labels at another density."""
    limits = {"max_jobs": 10_000, "max_cpu_seconds": 1e9, "max_estimated_cpu_seconds": 1e9, "time_limit_s": 3000.0}
    plan = LabelPlanSettings().dft | limits | {"kpoint_density": density}
    return DftSettings.model_validate({"level": "mp", "cache_dir": folder, "workers": 1, **plan})


def compute(crystals: Crystals, density: float, folder: Path) -> dict[str, EdosDocument]:
    """Documents of the crystals at a density, by id; failures are left out."""
    settings = settings_at(density, folder)
    jobs = plan_jobs(pd.DataFrame({Column.MATERIAL_ID: list(crystals.material_ids)}), crystals, settings)
    outcomes = run_jobs(jobs, crystals, settings)
    return {outcome.material_id: outcome for outcome in outcomes if isinstance(outcome, EdosDocument)}


def broadened(spectra: NDArray[np.floating]) -> NDArray[np.float64]:
    """Spectra smeared by a Gaussian of 0.2 eV, as the tight-binding model is compared with them."""
    return gaussian_filter1d(np.asarray(spectra, dtype=np.float64), BROADENING_EV / EDOS_GRID.width, axis=-1)


def cheap_crystals(n: int, source: ParquetSource, folder: Path, limit_s: float) -> Crystals:
    """The first crystals of the plan that are cheap enough."""
    ids = read_plan(DATA_DIR / "label_plan.parquet")[Column.MATERIAL_ID].to_pylist()[: 10 * n]
    crystals = source.crystals(ids)
    settings = settings_at(LabelPlanSettings().dft["kpoint_density"], folder)
    jobs = plan_jobs(pd.DataFrame({Column.MATERIAL_ID: ids}), crystals, settings)
    cheap = np.flatnonzero((jobs[Column.ESTIMATED_CPU_SECONDS] < limit_s).to_numpy())
    return crystals.take(cheap[:n])


def main() -> None:
    """Compute and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=30)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--densities", type=float, nargs="+", default=[75.0, 150.0, 350.0, 700.0])
    parser.add_argument(
        "--limit-s", type=float, default=15.0, help="estimated CPU seconds at the density of the labels"
    )
    parser.add_argument("--output", type=Path, help="folder of the benchmark's results, e.g. benchmarks/edos")
    arguments = parser.parse_args()
    source = ParquetSource(Path(os.environ["MAT2SPEC_DATA_DIR"]) / "mp_structures.parquet")
    crystals = cheap_crystals(arguments.n, source, arguments.results, arguments.limit_s)
    documents = {density: compute(crystals, density, arguments.results) for density in arguments.densities}
    common = sorted(set.intersection(*(set(found) for found in documents.values())))
    finest = np.array([documents[max(arguments.densities)][material_id].edos for material_id in common])
    print(f"{len(common)} crystals, against {max(arguments.densities):g} k-points times atoms")
    print("| k-points x atoms | CPU s | WD, eV | R2 | R2 broadened | metal or insulator differs | gap, eV |")
    print("|---|---|---|---|---|---|---|")
    for density in arguments.densities:
        found = [documents[density][material_id] for material_id in common]
        exact = [documents[max(arguments.densities)][material_id] for material_id in common]
        spectra = np.array([document.edos for document in found])
        gaps = np.array([[one.band_gap, other.band_gap] for one, other in zip(found, exact, strict=True)])
        gapped = gaps.min(axis=1) > 0
        print(
            f"| {density:g} | {np.mean([document.cpu_seconds for document in found]):.1f} "
            f"| {wasserstein_distances(finest, spectra, EDOS_GRID).mean():.3f} | {r2_score(finest, spectra):.3f} "
            f"| {r2_score(broadened(finest), broadened(spectra)):.3f} | {int(((gaps > 0).sum(axis=1) == 1).sum())} "
            f"| {np.abs(np.diff(gaps[gapped])).mean():.3f} |"
        )
    if arguments.output is not None:
        write_label_noise(
            arguments.output, [noise_of(documents, density, common) for density in coarser_densities(documents)]
        )


def coarser_densities(documents: Mapping[float, Mapping[str, EdosDocument]]) -> list[float]:
    """Densities below the finest one."""
    return sorted(documents)[:-1]


def noise_of(documents: Mapping[float, Mapping[str, EdosDocument]], density: float, common: list[str]) -> LabelNoise:
    """Labels at a density against those at the finest one."""
    finest = max(documents)
    n_atoms = np.array([documents[finest][material_id].n_sites for material_id in common])
    noisy, exact = (
        np.array([documents[each][material_id].edos for material_id in common]) / n_atoms[:, None]
        for each in (density, finest)
    )
    what = f"{density:g} k-points x atoms instead of {finest:g}"
    return compare_labels(what, "benchmarks/label_density.py", noisy, ExactLabels(exact, n_atoms), find_gapped_metals)


if __name__ == "__main__":
    main()
