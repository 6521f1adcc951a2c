"""Outcomes of DFT jobs as table rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pymatgen.core import Composition

from dft_validation.results.cache import Outcome
from dft_validation.results.document import EdosDocument
from dft_validation.results.outcomes import FailedJob, JobStatus
from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.primitive import CellSizes
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.columns import Column
from screening.classify.classes import classify
from screening.classify.materials import Materials
from screening.classify.properties import dos_at_efermi
from screening.settings import ClassifySettings, GapSettings

# How documents name a spin-polarised calculation.
POLARISED = "polarised"
# Owing to bins of 0.06 eV and interpolated bands, a half metal has a small DOS of the other spin.
HALF_METAL_POLARISATION = 0.95


def results_table(
    outcomes: Sequence[Outcome],
    gap_settings: GapSettings | None = None,
    classify_settings: ClassifySettings | None = None,
    polymorphs: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Rows of `dft_results`: one per outcome, failures with empty values.

    Parameters
    ----------
    outcomes
        From `run_jobs`.
    gap_settings
        If given, the columns of `screening.classify.classes.classify` are added. Its `is_metal` then replaces the
        engine's, so that it follows the same rule as predictions. `band_gap` remains the engine's.
    classify_settings
        Its other limits.
    polymorphs
        Polymorphs with a known gap by material: the column `gapped_polymorph` of the candidates.

    Returns
    -------
    DataFrame
        `material_id`, `formula`, `status`, `reason`, level of theory, cost, `edos` (128 bins or None), ...
    """
    rows = [_document_row(item) if isinstance(item, EdosDocument) else _failure_row(item) for item in outcomes]
    empty = dict.fromkeys(_COLUMN_TYPES)
    table = pd.DataFrame([{**empty, **row} for row in rows], columns=list(_COLUMN_TYPES)).astype(_COLUMN_TYPES)
    if gap_settings is None:
        return table
    return _with_classes(table, outcomes, gap_settings, classify_settings, polymorphs or {})


_COLUMN_TYPES: dict[str, Any] = {
    str(Column.MATERIAL_ID): object,
    str(Column.FORMULA): object,
    str(Column.STATUS): object,
    str(Column.REASON): object,
    str(Column.NSITES): "Int64",
    str(Column.EDOS): object,
    str(Column.IS_METAL): "boolean",
    str(Column.BAND_GAP): "float64",
    str(Column.EFERMI): "float64",
    "energy_zero_ev": "float64",
    "covered_to_ev": "float64",
    str(Column.ENGINE): object,
    "engine_version": object,
    str(Column.FUNCTIONAL): object,
    str(Column.SPIN): object,
    str(Column.U_VALUES): object,
    str(Column.KPOINTS): object,
    "n_irreducible_kpoints": "Int64",
    "n_bands": "Int64",
    str(Column.CPU_SECONDS): "float64",
    "wall_seconds": "float64",
    "peak_memory_mib": "float64",
    str(Column.SETTINGS_HASH): object,
    "notes": object,
}


def _document_row(document: EdosDocument) -> dict[str, Any]:
    return {
        Column.MATERIAL_ID: document.material_id,
        Column.FORMULA: document.formula,
        Column.STATUS: str(JobStatus.OK),
        Column.REASON: "",
        Column.NSITES: document.n_sites,
        Column.EDOS: document.covered_edos.astype(np.float32),
        Column.IS_METAL: document.is_metal,
        Column.BAND_GAP: document.band_gap,
        Column.EFERMI: document.efermi,
        "energy_zero_ev": document.energy_zero_ev,
        "covered_to_ev": document.covered_to_ev,
        Column.ENGINE: document.engine,
        "engine_version": document.engine_version,
        Column.FUNCTIONAL: document.functional,
        Column.SPIN: document.spin,
        Column.U_VALUES: json.dumps(document.u_values, sort_keys=True),
        Column.KPOINTS: "x".join(str(n) for n in document.kpoints),
        "n_irreducible_kpoints": document.n_irreducible_kpoints,
        "n_bands": document.n_bands,
        Column.CPU_SECONDS: document.cpu_seconds,
        "wall_seconds": document.wall_seconds,
        "peak_memory_mib": document.peak_memory_mib,
        Column.SETTINGS_HASH: document.settings_hash,
        "notes": " ".join(document.notes),
    }


def _failure_row(failure: FailedJob) -> dict[str, Any]:
    return {
        Column.MATERIAL_ID: failure.material_id,
        Column.FORMULA: failure.formula,
        Column.STATUS: str(failure.status),
        Column.REASON: failure.reason,
        Column.ENGINE: failure.engine,
        Column.FUNCTIONAL: failure.functional,
        Column.SPIN: failure.spin,
        Column.CPU_SECONDS: failure.cpu_seconds,
        Column.SETTINGS_HASH: failure.settings_hash,
        "notes": "",
    }


def _with_classes(
    table: pd.DataFrame,
    outcomes: Sequence[Outcome],
    gap_settings: GapSettings,
    settings: ClassifySettings | None,
    polymorphs: Mapping[str, str],
) -> pd.DataFrame:
    """Add the classes of each computed spectrum."""
    unknown = np.full(EDOS_GRID.size, np.nan)
    spectra = np.array([item.covered_edos if isinstance(item, EdosDocument) else unknown for item in outcomes])
    spectra = spectra.reshape(len(outcomes), EDOS_GRID.size)  # even if there is no outcome
    materials = _materials(outcomes, polymorphs)
    with_spin = (table[Column.SPIN] == POLARISED).to_numpy(dtype=np.bool_)
    classes = classify(spectra, materials, gap_settings, settings, with_spin=with_spin)
    spins = pd.DataFrame(map(_spin_columns, outcomes), columns=[Column.SPIN_POLARISATION, Column.IS_HALF_METAL])
    spins = spins.astype({Column.SPIN_POLARISATION: "float64", Column.IS_HALF_METAL: "boolean"})
    kept = table.drop(columns=[name for name in classes.columns if name in table.columns])
    return pd.concat([kept, classes.reset_index(drop=True), spins], axis=1)


def _materials(outcomes: Sequence[Outcome], known: Mapping[str, str]) -> Materials:
    """Cells, elements and gapped polymorphs of the computed crystals; one atom for failures."""
    documents = [item if isinstance(item, EdosDocument) else None for item in outcomes]
    n_sites = np.array([1 if item is None else item.n_sites for item in documents], dtype=np.int64)
    computed = np.array([1 if item is None else item.computed_n_sites for item in documents], dtype=np.int64)
    volumes = np.array([np.nan if item is None else item.computed_volume_a3 for item in documents], dtype=np.float64)
    doubled = np.array([item is not None and item.is_doubled for item in documents], dtype=np.bool_)
    primitive = np.where(doubled, computed // 2, computed)
    numbers = [[] if item is None else _atomic_numbers(item.formula) for item in documents]
    polymorphs = np.array([known.get(item.material_id, "") for item in outcomes], dtype=object)
    elements = ElementCounts.from_lists([pa.array(numbers, type=pa.list_(pa.int32()))])
    return Materials.of_elements(CellSizes(n_sites, primitive, volumes * n_sites / computed), elements, polymorphs)


def _atomic_numbers(formula: str) -> list[int]:
    """Atoms of a formula unit."""
    return [element.Z for element, amount in Composition(formula).items() for _ in range(round(amount))]


def _spin_columns(outcome: Outcome) -> tuple[float | None, bool | None]:
    """Spin polarisation of the DOS at E_F, and whether only one spin has states there; unknown without spin."""
    if not isinstance(outcome, EdosDocument) or outcome.edos_by_spin is None or not outcome.is_metal:
        return None, None
    up, down = dos_at_efermi(outcome.edos_by_spin)
    if up + down <= 0:
        return None, None
    polarisation = float((up - down) / (up + down))
    return polarisation, abs(polarisation) > HALF_METAL_POLARISATION


def update_jobs(jobs: pd.DataFrame, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """The table of jobs with the final status and reason of those that were run."""
    updated = jobs.copy()
    ended = {
        item.material_id: (str(JobStatus.OK), "") if isinstance(item, EdosDocument) else (str(item.status), item.reason)
        for item in outcomes
    }
    for row, material_id in enumerate(updated[Column.MATERIAL_ID]):
        if material_id in ended:
            updated.loc[updated.index[row], [str(Column.STATUS), str(Column.REASON)]] = ended[material_id]
    return updated
