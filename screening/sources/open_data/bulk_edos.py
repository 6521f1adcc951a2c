"""All electronic densities of states of the Materials Project, from its open data to an eDOS store to train on.

The store has the columns of `mat2spec.labels.edos_store`: 128 bin averages in states/eV per cell, both spins summed, zero at
the VBM or E_F. Spectra with and without Hubbard U are kept apart by `u_values`, and so are spins.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from mat2spec.crystals.composition import symbols
from mat2spec.crystals.hubbard import u_values_ev
from mat2spec.labels.edos_store import STORE_SCHEMA, TRAINING_LEVEL_KEY
from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY
from mat2spec.tables.columns import Column
from mat2spec.tables.provenance import hash_json, package_versions
from screening.progress import Progress, no_progress
from screening.settings import MaterialsProjectSettings, SourceKind
from screening.sources.open_data.bulk import (
    REFERENCE_KEY,
    BulkRead,
    ReleaseMaterials,
    say_left_out,
)
from screening.sources.open_data.delta import TOTAL_DOS, open_delta
from screening.sources.open_data.spectra import SpectrumError, bin_edos

# The Materials Project's own mixture: with U where its rules require it, spin-polarised where that matters.
TRAINING_LEVEL = {Column.FUNCTIONAL: "PBE"}
FUNCTIONALS = {"GGA": "PBE", "PBE": "PBE", "r2SCAN": "r2SCAN", "SCAN": "SCAN", "PBEsol": "PBEsol", "PBESol": "PBEsol"}
COLUMNS = ["identifier", "run_type", "energies", "efermi", "spin_up_densities", "spin_down_densities"]
UNKNOWN = "unknown"
# One spectrum of a material for each level of theory.
KEY = (Column.MATERIAL_ID, Column.SETTINGS_HASH)


def fetch_edos(
    target: Path,
    settings: MaterialsProjectSettings,
    reserved_formulas: Collection[str] = frozenset(),
    progress: Progress = no_progress,
) -> tuple[int, dict[str, int]]:
    """Stream the densities of states of all materials into an eDOS store.

    Parameters
    ----------
    target
        The store to write.
    settings
        Licence, time limits.
    reserved_formulas
        Reduced formulas that are never trained on; their spectra are left out.
    progress
        Called with the files read and their number.

    Returns
    -------
    n_rows : int
        Spectra in the store.
    left_out : dict
        Reason to number of spectra that are not.

    Raises
    ------
    MaterialsProjectError
        If the open data cannot be read; a rerun resumes at the file that failed.
    """
    source = open_delta(TOTAL_DOS, settings)
    materials = ReleaseMaterials.read(settings, _dos_tasks, {"task_id": _field("dos", "task_id")})
    rows = EdosRows(materials, frozenset(reserved_formulas))
    identity = hash_json(
        [materials.release, source.version(), sorted(reserved_formulas), settings.mp_include_gnome, "edos 2"]
    )
    read = BulkRead(target, source, rows.of_batch, COLUMNS, STORE_SCHEMA, identity, KEY)
    n_rows = read.run(store_metadata(materials.release, source.version()), progress)
    say_left_out(read.left_out)
    return n_rows, dict(read.left_out)


def store_metadata(release: str, delta_version: int) -> dict[str, str]:
    """Metadata that apply to all spectra of a store."""
    return {
        GRID_METADATA_KEY: EDOS_GRID.to_json(),
        REFERENCE_KEY: SourceKind.MATERIALS_PROJECT,
        TRAINING_LEVEL_KEY: json.dumps(TRAINING_LEVEL),
        "db_version": release,
        "delta_version": str(delta_version),
        "versions": json.dumps(package_versions(), sort_keys=True),
    }


def _field(*path: str) -> Any:
    return ds.field(*path)


def _dos_tasks(batch: pa.RecordBatch) -> list[list[str]]:
    return [[name] if name else [] for name in batch["task_id"].to_pylist()]


class EdosRows:
    """Rows of a store from batches of the Delta table.

    Parameters
    ----------
    materials
        The crystals.
    reserved
        Reduced formulas that are left out.
    """

    def __init__(self, materials: ReleaseMaterials, reserved: frozenset[str]) -> None:
        self._materials = materials
        self._reserved = reserved
        self._versions = json.dumps({SourceKind.MATERIALS_PROJECT: materials.release})

    def of_batch(self, batch: pa.RecordBatch, left_out: Counter[str]) -> list[dict[str, Any]]:
        """Rows of the usable spectra; the others are counted by reason."""
        rows = []
        for sample in samples_of(batch):
            try:
                rows.append(self.row(sample))
            except SpectrumError as error:
                left_out[str(error)] += 1
        return rows

    def material_of(self, sample: dict[str, Any]) -> str | None:
        """The material of a spectrum, None if it belongs to none."""
        position = self._materials.row_of(sample["identifier"])
        return None if position is None else str(self._materials.table[Column.MATERIAL_ID][position])

    def row(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Row of one spectrum.

        Raises
        ------
        SpectrumError
            If it cannot be used.
        """
        crystal = self._materials.crystal(sample["identifier"], self._reserved)
        if sample["energies"] is None or sample["spin_up_densities"] is None or sample["efermi"] is None:
            raise SpectrumError("Energies, densities or the Fermi energy are missing.")
        density, spin = sample["spin_up_densities"], "unpolarised"
        if sample["spin_down_densities"] is not None:
            if len(density) != len(sample["spin_down_densities"]):
                raise SpectrumError("The two spins have different numbers of samples.")
            density, spin = density + sample["spin_down_densities"], "polarised"
        binned = bin_edos(sample["energies"], density, float(sample["efermi"]))
        functional, with_u = _level(sample["run_type"])
        return {
            **crystal,
            Column.NSITES: len(crystal[Column.ATOMIC_NUMBERS]),
            Column.EDOS: binned.edos.astype(np.float32),
            Column.BAND_GAP: binned.band_gap,
            Column.EFERMI: float(sample["efermi"]),
            Column.ENERGY_ZERO_EV: binned.energy_zero_ev,
            Column.IS_METAL: binned.band_gap == 0.0,
            Column.COVERED_TO_EV: binned.covered_to_ev,
            Column.ENGINE: "vasp",
            Column.ENGINE_VERSION: UNKNOWN,
            Column.FUNCTIONAL: functional,
            Column.SPIN: spin,
            Column.U_VALUES: json.dumps(_u_values_of(crystal[Column.ATOMIC_NUMBERS]) if with_u else {}, sort_keys=True),
            Column.KPOINTS: UNKNOWN,
            Column.CPU_SECONDS: 0.0,
            Column.VERSIONS: self._versions,
            Column.SETTINGS_HASH: hash_json([SourceKind.MATERIALS_PROJECT, sample["run_type"]])[:16],
            Column.NOTES: "",
            Column.SOURCE: SourceKind.MATERIALS_PROJECT,
            Column.SELECTED_AS: "published",
        }


def samples_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Each spectrum of a batch, its numbers as arrays."""
    numbers = {name: _lists(batch[name]) for name in ("energies", "spin_up_densities", "spin_down_densities")}
    columns = {name: batch[name].to_pylist() for name in ("identifier", "run_type", "efermi")}
    for index in range(len(batch)):
        yield {name: values[index] for name, values in {**numbers, **columns}.items()}


def _lists(column: pa.Array) -> list[np.ndarray | None]:
    """Numbers of each list without Python objects; None for a null."""
    values = pc.list_flatten(column).to_numpy(zero_copy_only=False).astype(np.float64)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(lengths)
    valid = np.asarray(pc.is_valid(column))
    return [
        values[end - length : end] if known else None for end, length, known in zip(ends, lengths, valid, strict=True)
    ]


def _level(run_type: str | None) -> tuple[str, bool]:
    """Functional, and whether Hubbard U was applied, of a run type such as "GGA+U"."""
    name, plus, _ = str(run_type or UNKNOWN).partition("+U")
    return FUNCTIONALS.get(name, name), bool(plus)


def _u_values_of(atomic_numbers: Collection[int]) -> dict[str, float]:
    """Hubbard U in eV by element, as the Materials Project applies it in calculations with U."""
    return u_values_ev({symbols()[int(number)] for number in atomic_numbers})
