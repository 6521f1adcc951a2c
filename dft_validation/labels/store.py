"""Labels in a Parquet file, and beside it the crystals that got none, with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dft_validation.document import EdosDocument
from dft_validation.labels.reserved import Reserved
from dft_validation.outcomes import FailedJob
from dft_validation.settings import DftSettings
from mat2spec.crystals.arrays import Crystals
from mat2spec.labels.edos_store import read_edos_store, store_schema
from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY
from mat2spec.tables.columns import Column
from mat2spec.tables.files import make_folder
from mat2spec.tables.parquet import read_metadata, read_table, write_table
from screening.runs.record import short_lock

if TYPE_CHECKING:
    import pyarrow as pa

SETTINGS_KEY = "dft_settings"
KEPT_APART_KEY = "kept_apart"
SPLIT_KEY = "split"
SPLIT_RULE = (
    "mat2spec.labels.splits.split_of_formula(reduced formula, seed 0): 80 % train, 10 % valid, 10 % test; a formula is in one "
    "split only, also across stores and edos_pbe.parquet"
)
NO_LIST = "no list of reserved materials"
# A material under one set of DFT settings is labelled once.
_KEY = (Column.MATERIAL_ID, Column.SETTINGS_HASH)


@dataclass(frozen=True)
class Additions:
    """What is to be added to a store.

    Parameters
    ----------
    labels
        Rows with the columns of `mat2spec.labels.edos_store.store_schema`.
    failures
        Crystals without a label.
    settings
        DFT settings by their hash.
    """

    labels: Sequence[Mapping[str, Any]]
    failures: Sequence[FailedJob]
    settings: Mapping[str, Mapping[str, object]]


class LabelStore:
    """Labels and failures on the disk; several processes may add to one store.

    Parameters
    ----------
    path
        The Parquet file of the labels; made with the first label.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def failures_path(self) -> Path:
        """The Parquet file of the failures."""
        return self.path.with_name(f"{self.path.stem}_failures{self.path.suffix}")

    def labels(self) -> pa.Table:
        """All labels; no row without a file.

        Raises
        ------
        mat2spec.tables.files.TableError
            If the file is no eDOS store.
        """
        return read_edos_store(self.path) if self.path.exists() else store_schema().empty_table()

    def failures(self) -> pa.Table:
        """All failures; no row without a file."""
        schema = _failures_schema()
        if not self.failures_path.exists():
            return schema.empty_table()
        return read_table(self.failures_path, schema.names).cast(schema)

    def add(self, additions: Additions, reserved: Reserved) -> int:
        """Add labels and failures, each file whole or not at all; what is there already stays.

        Returns
        -------
        int
            Labels that were new.
        """
        make_folder(self.path.parent)
        with short_lock(self.path.with_name(f".{self.path.name}.lock")):
            before = self.labels()
            labels = _merge(before, additions.labels)
            if len(labels) > len(before):
                write_table(self.path, labels, self._metadata(additions.settings, reserved))
            self._add_failures(additions.failures, labels)
        return len(labels) - len(before)

    def _add_failures(self, failures: Sequence[FailedJob], labels: pa.Table) -> None:
        """The newest failure of a crystal counts, until it has a label."""
        import pyarrow as pa

        before = self.failures()
        labelled = set(_keys(labels))
        rows = {key: row for key, row in zip(_keys(before), before.to_pylist(), strict=True) if key not in labelled}
        for failure in failures:
            key = (failure.material_id, failure.settings_hash)
            if key not in labelled:
                rows[key] = {name: _plain(getattr(failure, name)) for name in _failures_schema().names}
        after = pa.Table.from_pylist([rows[key] for key in sorted(rows)], schema=_failures_schema())
        if after != before:
            write_table(self.failures_path, after)

    def _metadata(self, settings: Mapping[str, Mapping[str, object]], reserved: Reserved) -> dict[str, str]:
        old = read_metadata(self.path) if self.path.exists() else {}
        known = {**json.loads(old.get(SETTINGS_KEY, "{}")), **settings}
        lists = {*json.loads(old.get(KEPT_APART_KEY, "[]")), reserved.sha256 or NO_LIST}
        return {
            **old,
            GRID_METADATA_KEY: EDOS_GRID.to_json(),
            SETTINGS_KEY: json.dumps(known, sort_keys=True),
            KEPT_APART_KEY: json.dumps(sorted(lists)),
            SPLIT_KEY: SPLIT_RULE,
        }


def label_of_document(document: EdosDocument, crystals: Crystals, row: int, source: str, chosen: str) -> dict[str, Any]:
    """One row of a store.

    Parameters
    ----------
    document
        What was computed.
    crystals, row
        The crystal it was computed for.
    source
        Version of the database that the crystal is from.
    chosen
        Why it was computed.
    """
    return {
        **crystal_columns(crystals, row),
        "formula": document.formula,
        "edos": document.edos.astype(np.float32).tolist(),
        "band_gap": document.band_gap,
        "efermi": document.efermi,
        "energy_zero_ev": document.energy_zero_ev,
        "is_metal": document.is_metal,
        "covered_to_ev": document.covered_to_ev,
        "engine": document.engine,
        "engine_version": document.engine_version,
        "functional": document.functional,
        "spin": document.spin,
        "u_values": json.dumps(document.u_values, sort_keys=True),
        "kpoints": "x".join(str(n) for n in document.kpoints),
        "cpu_seconds": document.cpu_seconds,
        "versions": json.dumps(document.versions, sort_keys=True),
        "settings_hash": document.settings_hash,
        "notes": " ".join(document.notes),
        "source": source,
        "selected_as": chosen,
    }


def crystal_columns(crystals: Crystals, row: int) -> dict[str, Any]:
    """Identifier and geometry of a crystal as columns of a store."""
    sites = crystals.sites(row)
    return {
        "material_id": str(crystals.material_ids[row]),
        "nsites": int(crystals.n_sites[row]),
        "lattice": crystals.lattices[row].ravel().tolist(),
        "frac_coords": crystals.frac_coords[sites].ravel().tolist(),
        "atomic_numbers": crystals.atomic_numbers[sites].tolist(),
    }


def additions_of(
    labels: Sequence[Mapping[str, Any]], failures: Sequence[FailedJob], settings: DftSettings
) -> Additions:
    """Rows with the meaning of their settings hash."""
    return Additions(labels, failures, {settings.settings_hash: settings.physics()})


def _merge(before: pa.Table, labels: Sequence[Mapping[str, Any]]) -> pa.Table:
    """All labels, one per material and settings, sorted by them; of two the one that was there first stays."""
    import pyarrow as pa

    known = set(_keys(before))
    new = {(str(row[_KEY[0]]), str(row[_KEY[1]])): row for row in reversed(labels)}
    rows = [row for key, row in new.items() if key not in known]
    schema = store_schema()
    after = pa.concat_tables([before.select(schema.names).cast(schema), pa.Table.from_pylist(rows, schema=schema)])
    return after.sort_by([(str(name), "ascending") for name in _KEY]).combine_chunks()


def _keys(table: pa.Table) -> Iterable[tuple[str, str]]:
    return zip(table[_KEY[0]].to_pylist(), table[_KEY[1]].to_pylist(), strict=True)


def _failures_schema() -> pa.Schema:
    import pyarrow as pa

    text = ("material_id", "formula", "status", "reason", "engine", "functional", "spin", "settings_hash")
    return pa.schema([*(pa.field(name, pa.string()) for name in text), pa.field("cpu_seconds", pa.float64())])


def _plain(value: object) -> object:
    return str(value) if isinstance(value, str) else value
