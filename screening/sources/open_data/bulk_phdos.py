"""All phonon densities of states of the Materials Project, from its open data to a table to train on.

The table has the columns that `mat2spec.labels.readers.data_folder.load_phdos` reads of `phdos_dfpt.parquet`: 51 points of 20 cm-1, three
modes per atom. Crystals with 1 % imaginary modes or more are left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from mat2spec.labels.splits import split_of_formula
from mat2spec.spectra.grids import GRID_METADATA_KEY, PHDOS_GRID
from mat2spec.tables.columns import Column
from mat2spec.tables.provenance import hash_json, package_versions
from screening.progress import Progress, no_progress
from screening.settings import MaterialsProjectSettings, SourceKind
from screening.sources.materials_project.documents import crystal_fields
from screening.sources.open_data.bulk import (
    REFERENCE_KEY,
    BulkRead,
    ReleaseMaterials,
    say_left_out,
)
from screening.sources.open_data.delta import PHONON_DOS, open_delta
from screening.sources.open_data.spectra import SpectrumError, bin_phdos

METHOD = "dfpt"
# As in `mat2spec.labels.readers.data_folder`: from this share of imaginary modes on, a crystal is unstable.
UNSTABLE_FROM = 0.01


def fetch_phdos(
    target: Path,
    settings: MaterialsProjectSettings,
    reserved_formulas: Collection[str] = frozenset(),
    progress: Progress = no_progress,
    method: str = METHOD,
) -> tuple[int, dict[str, int]]:
    """Stream the phonon densities of states of one method into a table.

    Parameters
    ----------
    target
        The table to write; `phdos_dfpt.parquet` in a folder of training data is what training reads.
    settings, reserved_formulas, progress
        As `screening.sources.open_data.bulk_edos.fetch_edos`.
    method
        "dfpt" or "pheasy".

    Returns
    -------
    n_rows : int
        Spectra in the table.
    left_out : dict
        Reason to number of spectra that are not.

    Raises
    ------
    MaterialsProjectError
        If the open data cannot be read.
    """
    source = open_delta(PHONON_DOS, settings)
    materials = ReleaseMaterials.read(settings, _phonon_ids(method), {"phonon_IDs": _field("phonon_IDs")})
    rows = _Rows(materials, frozenset(reserved_formulas), method)
    identity = hash_json([materials.release, source.version(), sorted(reserved_formulas), method, "phdos 2"])
    read = BulkRead(target, source, rows.of_batch, _columns(), _schema(), identity, (Column.MATERIAL_ID,))
    metadata = {
        GRID_METADATA_KEY: PHDOS_GRID.to_json(),
        REFERENCE_KEY: SourceKind.MATERIALS_PROJECT,
        "phonon_method": method,
        "db_version": materials.release,
        "delta_version": str(source.version()),
        "versions": json.dumps(package_versions(), sort_keys=True),
    }
    n_rows = read.run(metadata, progress)
    say_left_out(read.left_out)
    return n_rows, dict(read.left_out)


def _field(*path: str) -> Any:
    return ds.field(*path)


def _columns() -> dict[str, Any]:
    """The columns read; structures and spectra by atom are not among them."""
    fields = {name: _field(name) for name in ("identifier", "phonon_method")}
    return fields | {name: _field("dos", name) for name in ("frequencies", "densities")}


def _phonon_ids(method: str) -> Callable[[pa.RecordBatch], list[list[str]]]:
    def calculations(batch: pa.RecordBatch) -> list[list[str]]:
        # As in mp-api, the first of several is that of the material.
        return [(dict(ids or []).get(method) or [])[:1] for ids in batch["phonon_IDs"].to_pylist()]

    return calculations


def _schema() -> pa.Schema:
    return pa.schema(
        {
            **crystal_fields(),
            "phdos_51": pa.list_(pa.float32()),
            "imaginary_fraction": pa.float64(),
            "has_imaginary": pa.bool_(),
            "split": pa.string(),
        }
    )


class _Rows:
    """Rows of the table from batches of the Delta table."""

    def __init__(self, materials: ReleaseMaterials, reserved: frozenset[str], method: str) -> None:
        self._materials = materials
        self._reserved = reserved
        self._method = method

    def of_batch(self, batch: pa.RecordBatch, left_out: Counter[str]) -> list[dict[str, Any]]:
        """Rows of the usable spectra; the others are counted by reason."""
        rows = []
        for document in batch.to_pylist():
            try:
                rows.append(self._row(document))
            except SpectrumError as error:
                left_out[str(error)] += 1
        return rows

    def _row(self, document: dict[str, Any]) -> dict[str, Any]:
        if document["phonon_method"] != self._method:
            raise SpectrumError("another phonon method")
        crystal = self._materials.crystal(document["identifier"], self._reserved)
        frequencies, densities = (np.array(document[name] or [], np.float64) for name in ("frequencies", "densities"))
        phdos, imaginary = bin_phdos(frequencies, densities, len(crystal[Column.ATOMIC_NUMBERS]))
        if imaginary >= UNSTABLE_FROM:
            raise SpectrumError("1 % imaginary modes or more")
        return {
            **crystal,
            "phdos_51": phdos.astype(np.float32),
            "imaginary_fraction": imaginary,
            "has_imaginary": imaginary > 0,
            "split": split_of_formula(crystal[Column.FORMULA]),
        }
