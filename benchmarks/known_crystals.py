"""The level of the labels on crystals whose answer is known: gaps, moments, the gap of SrVO3.

    MAT2SPEC_DATA_DIR=DATA python benchmarks/known_crystals.py --results FOLDER

For each formula the crystal of the Materials Project with the lowest number, at the level "mp" with the settings of the labels and,
for comparison, unpolarised without U. Finished calculations stay in the folder.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from dft_validation import DftSettings, EdosDocument, FailedJob, calculate_edos
from dft_validation.engines.processes import ChildGroup, member_of
from dft_validation.jobs.calculation import cell_of
from dft_validation.results.cache import DocumentCache
from dft_validation.settings import LabelPlanSettings
from mat2spec.tables.columns import Column
from screening.classify.gaps import classify_spectra
from screening.sources.parquet import ParquetSource

_MAX_SITES = 8
# What is known, for the reader of the table.
KNOWN = {
    "Si": "insulator, PBE gap 0.6 eV",
    "Al": "metal",
    "MgO": "insulator, PBE gap 4.5 eV",
    "Fe": "ferromagnet, 2.2 Bohr magnetons",
    "Ni": "ferromagnet, 0.6 Bohr magnetons",
    "NiO": "insulator with U",
    "FeO": "insulator with U, or a half metal in a ferromagnetic cell",
    "MnF2": "insulator, 5 Bohr magnetons per Mn",
    "VBr2": "insulator with spin, 3 Bohr magnetons per V",
    "MoF3": "insulator with spin, 3 Bohr magnetons per Mo",
    "SrVO3": "metal; gap below E_F of 1.1 eV without, 0.06 eV with U and ferromagnetic order",
    "CrO2": "half metal, 2 Bohr magnetons per Cr",
}


def oldest(source: ParquetSource, formula: str) -> str:
    """Identifier of the crystal of that formula with the lowest number: mostly the one that everybody means."""
    rows = source.properties()
    small = rows[(rows[Column.FORMULA] == formula) & (rows[Column.NSITES] <= _MAX_SITES)]
    return min(small[Column.MATERIAL_ID].astype(str), key=lambda material_id: int(material_id.removeprefix("mp-")))


def compute(material_id: str, source: ParquetSource, settings: DftSettings) -> EdosDocument | FailedJob:
    """What became of one crystal, from the folder if it was computed before."""
    structure = source.crystals([material_id]).structure(0)
    cache = DocumentCache(settings.cache_dir)
    key = cache.key(cell_of(structure), settings, "known")
    outcome = cache.load(key)
    if outcome is None:
        outcome = calculate_edos(structure, material_id, settings)
        cache.store(key, outcome)
    return outcome


def line(formula: str, material_id: str, outcome: EdosDocument | FailedJob, level: str) -> str:
    """One row of the table."""
    if isinstance(outcome, FailedJob):
        return f"| {formula} | {material_id} | {level} | {outcome.status}: {outcome.reason} | | | | {KNOWN[formula]} |"
    classes = classify_spectra(outcome.edos[None], n_sites=np.array([outcome.n_sites])).iloc[0]
    width = classes[Column.GAP_WIDTH_EV]
    below = f"{width:.2f}" if classes[Column.HAS_VB_GAP] and outcome.is_metal else "none"
    spin = f"{outcome.spin}{' +U' if outcome.u_values else ''}"
    return (
        f"| {formula} | {material_id} | {level} | {spin} | {outcome.band_gap:.2f} | {outcome.magnetization:.2f} "
        f"| {below} | {KNOWN[formula]} |"
    )


def main() -> None:
    """Compute and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    source = ParquetSource(Path(os.environ["MAT2SPEC_DATA_DIR"]) / "mp_structures.parquet")
    common = {**LabelPlanSettings().dft, "cache_dir": arguments.results, "time_limit_s": 3000.0}
    levels = {"mp": {"level": "mp"}, "unpolarised": {}}
    print(
        "| formula | id | level | spin | band gap, eV | moment, Bohr magnetons per cell | gap below E_F, eV | known |"
    )
    print("|---|---|---|---|---|---|---|---|")
    group = ChildGroup()
    with member_of(group):
        for formula in KNOWN:
            material_id = oldest(source, formula)
            for level, changes in levels.items():
                outcome = compute(material_id, source, DftSettings.model_validate({**common, **changes}))
                print(line(formula, material_id, outcome, level), flush=True)
    group.close()


if __name__ == "__main__":
    main()
