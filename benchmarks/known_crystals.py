"""The level of the labels on crystals whose answer is known: gaps, moments, the gap of SrVO3.

    MAT2SPEC_DATA_DIR=DATA python benchmarks/known_crystals.py --results FOLDER

At the level "mp" with the settings of the labels and, for comparison, unpolarised without U. Finished calculations stay in the folder.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from dft_validation import DftSettings, EdosDocument, FailedJob, calculate_edos
from dft_validation.engines.processes import ChildGroup, member_of
from dft_validation.results.cache import DocumentCache
from dft_validation.settings import LabelPlanSettings
from mat2spec.crystals.cell import cell_of
from mat2spec.tables.columns import Column
from screening.classify.gaps import classify_spectra
from screening.sources.parquet import ParquetSource

# Identifier, and what is known, for the reader of the table.
KNOWN = {
    "Si": ("mp-149", "insulator, PBE gap 0.6 eV"),
    "MgO": ("mp-1265", "insulator, PBE gap 4.6 eV"),
    "Al": ("mp-134", "metal without moment"),
    "Fe": ("mp-13", "ferromagnet, PBE 2.2"),
    "Ni": ("mp-23", "ferromagnet, PBE 0.6"),
    "SrVO3": (
        "mp-18717",
        "a gap below E_F of 1.1 eV without U, none with the broken symmetry of the Materials Project; moment 1",
    ),
    "NiO": ("mp-19009", "insulator, 2.5 eV with U"),
    "FeO": ("mp-715262", "insulator, 1.4 eV with U"),
    "VBr2": ("mp-971787", "insulator with spin, 1.2 eV; V2+: moment 3"),
    "MnF2": ("mp-560902", "insulator with spin, 2.9 eV; Mn2+: moment 5 per Mn"),
    "MoF3": ("mp-554201", "insulator with spin, 3.0 eV; Mo3+: moment 3"),
    "CrO2": ("mp-19177", "half metal; moment 2 per Cr"),
}


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
        return (
            f"| {formula} | {material_id} | {level} | {outcome.status}: {outcome.reason} | | | | {KNOWN[formula][1]} |"
        )
    classes = classify_spectra(outcome.edos[None], n_sites=np.array([outcome.n_sites])).iloc[0]
    width = classes[Column.GAP_WIDTH_EV]
    below = f"{width:.2f}" if classes[Column.HAS_VB_GAP] and outcome.is_metal else "none"
    moment = outcome.magnetization * outcome.computed_n_sites / outcome.n_sites
    spin = f"{outcome.spin}{' +U' if outcome.u_values else ''}"
    return (
        f"| {formula} | {material_id} | {level} | {spin} | {outcome.band_gap:.2f} | {moment:.2f} "
        f"| {below} | {KNOWN[formula][1]} |"
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
        "| formula | id | level | spin | band gap, eV | moment, Bohr magnetons per primitive cell | gap below E_F, eV | known |"
    )
    print("|---|---|---|---|---|---|---|---|")
    group = ChildGroup()
    with member_of(group):
        for formula, (material_id, _) in KNOWN.items():
            for level, changes in levels.items():
                outcome = compute(material_id, source, DftSettings.model_validate({**common, **changes}))
                print(line(formula, material_id, outcome, level), flush=True)
    group.close()


if __name__ == "__main__":
    main()
