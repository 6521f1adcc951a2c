"""Labels in a Parquet file, and beside it the crystals without one, with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import count
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dft_validation.bands.mesh import FINE_EDOS_GRID
from dft_validation.labels.reserved import Reserved
from dft_validation.results.document import EdosDocument
from dft_validation.results.outcomes import FailedJob
from dft_validation.settings import DftSettings, level_of
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.identity import structure_hash
from mat2spec.labels.edos_store import STORE_SCHEMA, read_edos_store, shards_of
from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY
from mat2spec.tables.columns import Column
from mat2spec.tables.files import make_folder
from mat2spec.tables.parquet import read_metadata, read_table, write_table
from screening.runs.record import short_lock

SETTINGS_KEY = "dft_settings"
KEPT_APART_KEY = "kept_apart"
SPLIT_KEY = "split"
SPLIT_RULE = (
    "mat2spec.labels.splits.split_of_formula(reduced formula, seed 0): 80 % train, 10 % valid, 10 % test; a formula is in one "
    "split only, also across stores and edos_pbe.parquet. Beside labels of a plan: split_labels of the same module"
)
NO_LIST = "no list of reserved materials"
# Labels per file in a store that is a folder.
SHARD_SIZE = 200
# A material is labelled once per set of DFT settings.
_KEY = (Column.MATERIAL_ID, Column.SETTINGS_HASH)


@dataclass(frozen=True)
class Additions:
    """Additions to a store.

    Parameters
    ----------
    labels
        Rows with the columns of `mat2spec.labels.edos_store.STORE_SCHEMA`.
    failures
        Crystals without a label.
    settings
        DFT settings by their hash.
    """

    labels: Sequence[Mapping[str, Any]]
    failures: Sequence[FailedJob]
    settings: Mapping[str, Mapping[str, object]]


class LabelStore:
    """Labels and failures on disk; several processes may add to one store.

    Parameters
    ----------
    path
        The Parquet file of the labels, created with the first label; or, without the suffix `.parquet`, a folder of files
        of `SHARD_SIZE` labels each, of which only the last one grows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_folder = path.suffix != ".parquet"

    @property
    def failures_path(self) -> Path:
        """The Parquet file of the failures."""
        if self.is_folder:
            return self.path / "failures" / "failures.parquet"
        return self.path.with_name(f"{self.path.stem}_failures{self.path.suffix}")

    def labels(self) -> pa.Table:
        """All labels; no rows if there is no file.

        Raises
        ------
        mat2spec.tables.files.TableError
            If the file is not an eDOS store.
        """
        begun = bool(shards_of(self.path)) if self.is_folder else self.path.exists()
        return read_edos_store(self.path) if begun else STORE_SCHEMA.empty_table()

    def failures(self) -> pa.Table:
        """All failures; no rows if there is no file."""
        schema = _failures_schema()
        if not self.failures_path.exists():
            return schema.empty_table()
        return read_table(self.failures_path, schema.names).cast(schema)

    def add(self, additions: Additions, reserved: Reserved) -> int:
        """Add labels and failures, each file atomically; existing entries stay.

        Returns
        -------
        int
            Number of new labels.
        """
        make_folder(self.failures_path.parent)
        with short_lock(self.path.with_name(f".{self.path.name}.lock")):
            known = set(_keys(self.labels()))
            rows = _new_rows(known, additions.labels)
            if rows:
                self._append(rows, additions.settings, reserved)
            self._add_failures(additions.failures, known | rows.keys())
        return len(rows)

    def _append(
        self,
        rows: Mapping[tuple[str, str], Mapping[str, Any]],
        settings: Mapping[str, Mapping[str, object]],
        reserved: Reserved,
    ) -> None:
        """Write new rows: to the file, or to the last shard until it is full and then to the next."""
        new = pa.Table.from_pylist(list(rows.values()), schema=STORE_SCHEMA)
        for shard in self._growing_files():
            before = read_edos_store(shard) if shard.exists() else STORE_SCHEMA.empty_table()
            space = max(SHARD_SIZE - len(before), 0) if self.is_folder else len(new)
            if space:
                grown = pa.concat_tables([before.replace_schema_metadata(None), new.slice(0, space)])
                _write(shard, grown, self._metadata(shard, settings, reserved))
            new = new.slice(space)
            if not len(new):
                return

    def _growing_files(self) -> Iterator[Path]:
        """The file, or the last shard and those that will follow it."""
        if not self.is_folder:
            yield self.path
            return
        for number in count(max(len(shards_of(self.path)) - 1, 0)):
            yield self.path / f"labels-{number:04d}.parquet"

    def _add_failures(self, failures: Sequence[FailedJob], labelled: AbstractSet[tuple[str, str]]) -> None:
        """Only the newest failure of a crystal is kept, until it has a label."""
        before = self.failures()
        rows = {key: row for key, row in zip(_keys(before), before.to_pylist(), strict=True) if key not in labelled}
        for failure in failures:
            key = (failure.material_id, failure.settings_hash)
            if key not in labelled:
                rows[key] = {name: _plain(getattr(failure, name)) for name in _failures_schema().names}
        after = pa.Table.from_pylist([rows[key] for key in sorted(rows)], schema=_failures_schema())
        if after != before:
            write_table(self.failures_path, after)

    @staticmethod
    def _metadata(path: Path, settings: Mapping[str, Mapping[str, object]], reserved: Reserved) -> dict[str, str]:
        old = read_metadata(path) if path.exists() else {}
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
        The computed document.
    crystals, row
        The crystal.
    source
        Version of the database of the crystal.
    chosen
        Why it was chosen.
    """
    return {
        **crystal_columns(crystals, row),
        "formula": document.formula,
        "edos": document.covered_edos.astype(np.float32),
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
        "structure_hash": structure_hash(crystals.cell(row)),
        "level": level_of(document.settings),
        "kpoint_density": float(document.settings.get("kpoint_density", nan)),
        "vbm": document.vbm,
        "cbm": document.cbm,
        "magnetization": document.magnetization,
        "n_electrons": document.n_electrons,
        "edos_fine": _fine(document),
        "projection_names": list(document.projections),
        "projections": _half(np.concatenate([np.empty(0), *document.projections.values()])),
        "projected_share": document.projected_share,
    }


def _fine(document: EdosDocument) -> NDArray[np.float16] | None:
    """The fine density, one spin channel after the other, NaN where bands are missing."""
    if document.fine_edos is None:
        return None
    covered = FINE_EDOS_GRID.edges[1:] <= document.covered_to_ev
    return _half(np.where(covered, document.fine_edos, nan).ravel())


def _half(values: NDArray[np.floating]) -> NDArray[np.float16]:
    """Half precision: 11 bits are ample for a density of states and take half the space."""
    return np.asarray(values, dtype=np.float16)


def without_crystal(label: Mapping[str, Any], document: EdosDocument) -> dict[str, Any]:
    """A row that refers to the crystal in its database by id and hash; its spectra are per primitive cell."""
    ratio = document.computed_n_sites / document.n_sites
    scaled = {
        name: (np.asarray(label[name]) * ratio).astype(np.asarray(label[name]).dtype)
        for name in ("edos", "edos_fine", "projections")
        if label[name] is not None
    }
    absent = dict.fromkeys(("lattice", "frac_coords", "atomic_numbers"))
    magnetization = document.magnetization * ratio
    return {**label, **scaled, **absent, "nsites": document.computed_n_sites, "magnetization": magnetization}


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


def _new_rows(
    known: AbstractSet[tuple[str, str]], labels: Sequence[Mapping[str, Any]]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """New rows by material and settings, sorted; of duplicates the first is kept."""
    rows = {(str(row[_KEY[0]]), str(row[_KEY[1]])): row for row in reversed(labels)}
    return {key: rows[key] for key in sorted(rows) if key not in known}


def _write(path: Path, table: pa.Table, metadata: Mapping[str, str]) -> None:
    """Write labels sorted by material and settings."""
    write_table(path, table.sort_by([(str(name), "ascending") for name in _KEY]).combine_chunks(), metadata)


def _keys(table: pa.Table) -> Iterable[tuple[str, str]]:
    return zip(table[_KEY[0]].to_pylist(), table[_KEY[1]].to_pylist(), strict=True)


def _failures_schema() -> pa.Schema:
    text = ("material_id", "formula", "status", "reason", "engine", "functional", "spin", "settings_hash")
    return pa.schema([*(pa.field(name, pa.string()) for name in text), pa.field("cpu_seconds", pa.float64())])


def _plain(value: object) -> object:
    return str(value) if isinstance(value, str) else value
