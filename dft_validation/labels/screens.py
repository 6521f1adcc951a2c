"""The DFT results of a screen as labels."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from dft_validation.labels.factory import LabelError
from dft_validation.labels.reserved import Reserved
from dft_validation.labels.store import LabelStore, additions_of, crystal_columns
from dft_validation.results.outcomes import PASSING_STATES, FailedJob, JobStatus
from dft_validation.settings import DftSettings, level_of
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import reduced_formulas
from mat2spec.crystals.identity import structure_hash
from mat2spec.tables.columns import Column
from screening.runs.folder import RunFolder
from screening.runs.schemas import TableName

SCREENED = "screen"
# Columns of the results that a label keeps unchanged.
_SHARED = (
    "band_gap",
    "efermi",
    "energy_zero_ev",
    "covered_to_ev",
    "engine",
    "engine_version",
    "functional",
    "spin",
    "u_values",
    "kpoints",
    "cpu_seconds",
    "settings_hash",
    "notes",
)


def add_run(run: RunFolder, store_path: Path, reserved: Reserved) -> tuple[int, int, int]:
    """Add the DFT results of a screen to a store.

    Parameters
    ----------
    run
        A run whose DFT has ended.
    store_path
        The Parquet file of the labels.
    reserved
        Materials that do not become labels.

    Returns
    -------
    tuple of int
        Numbers of new labels; of results already in the store or without a spectrum; of reserved results.

    Raises
    ------
    LabelError
        If the run has no DFT results.
    RunError
        If the run holds no coordinates, as is the case for version 0.1.
    """
    if not run.has_table(TableName.DFT_RESULTS):
        raise LabelError(f"The run {run.run_id} has no DFT results; run it without --no-dft first.")
    results, info = run.read_table(TableName.DFT_RESULTS), run.info
    crystals = run.crystals(results[Column.MATERIAL_ID])
    formulas = reduced_formulas(crystals)
    versions = json.dumps(info["versions"], sort_keys=True)
    dft = DftSettings.model_validate(info["settings"]["dft"])
    level = {"level": level_of(dft.physics()), "kpoint_density": dft.kpoint_density}
    labels: list[dict[str, Any]] = []
    failures: list[FailedJob] = []
    n_reserved = 0
    for row, result in enumerate(results.to_dict("records")):
        if reserved.holds(result[Column.MATERIAL_ID], formulas[row]):
            n_reserved += 1
        elif result[Column.STATUS] == str(JobStatus.OK):
            made = {"formula": formulas[row], "versions": versions, "source": info["db_version"]}
            labels.append(_label(result, crystals, row) | made | level)
        elif JobStatus(result[Column.STATUS]) not in PASSING_STATES:
            failures.append(_failure(result, formulas[row]))
    n_new = LabelStore(store_path).add(additions_of(labels, failures, dft), reserved)
    return n_new, len(results) - n_reserved - n_new, n_reserved


def _label(result: Mapping[Hashable, Any], crystals: Crystals, row: int) -> dict[str, Any]:
    return {
        **crystal_columns(crystals, row),
        **{name: result[name] for name in _SHARED},
        "edos": list(result[Column.EDOS]),
        # The table's own flag is the classifier's; this one is the engine's.
        "is_metal": result["band_gap"] == 0,
        "selected_as": SCREENED,
        "structure_hash": structure_hash(crystals.cell(row)),
    }


def _failure(result: Mapping[Hashable, Any], formula: str) -> FailedJob:
    return FailedJob(
        material_id=str(result[Column.MATERIAL_ID]),
        formula=formula,
        status=JobStatus(result[Column.STATUS]),
        reason=str(result[Column.REASON]),
        engine=str(result[Column.ENGINE]),
        functional=str(result[Column.FUNCTIONAL]),
        spin=str(result[Column.SPIN]),
        settings_hash=str(result[Column.SETTINGS_HASH]),
        cpu_seconds=float(result[Column.CPU_SECONDS]),
    )
