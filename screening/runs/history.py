"""What is new since previous runs: materials, structures, and electronic densities of states.

A run records a hash of each candidate's structure, and which materials had an eDOS. A later run on a
newer release of the same source compares these: it can screen only what was not screened before, and
reports what changed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mat2spec.tables.columns import Column
from mat2spec.tables.files import TableError
from mat2spec.tables.parquet import read_table, require_columns, to_frame
from screening.runs.record import RunStatus, list_runs
from screening.runs.schemas import TableName

SCREENED_BEFORE = "not screened before"
_SCREENED = (str(Column.MATERIAL_ID), str(Column.STRUCTURE_HASH), str(Column.RUN_ID))
logger = logging.getLogger(__name__)


class Change(StrEnum):
    """What is new about a material."""

    NEW = "new"
    STRUCTURE = "structure changed"
    LOST_EDOS = "lost its eDOS"
    GAINED_EDOS = "gained an eDOS"


@dataclass(frozen=True)
class PreviousRuns:
    """What comparable finished runs have screened.

    Parameters
    ----------
    screened
        Columns `material_id`, `structure_hash`, `run_id`: each pair of material and structure once, with the last run
        that had it; oldest run first.
    known_edos
        Materials that had an eDOS when the last of the runs began.
    last_run_id
        The last of the runs; None if there is none.
    asked_before
        Materials screened by runs with the same filters as the present one.
    """

    screened: pd.DataFrame
    known_edos: frozenset[str]
    last_run_id: str | None
    asked_before: frozenset[str] = frozenset()

    @classmethod
    def find(
        cls, results_dir: Path, identity: Mapping[str, Any], material_ids: Iterable[str] | None = None
    ) -> PreviousRuns:
        """Read the finished runs of a folder that used the same weights and the same rule for gaps.

        Only one run at a time is in memory besides the result. A run whose tables are damaged or missing is left out with
        a warning.

        Parameters
        ----------
        results_dir
            Folder of all runs.
        identity
            `weights_hashes` and `settings` of the present run, as `run.json` holds them.
        material_ids
            The materials that will be asked about; of all others nothing is kept. All by default.
        """
        wanted: pa.Array | None = None
        found = cls(pd.DataFrame({name: pd.Series(dtype=object) for name in _SCREENED}), frozenset(), None)
        for info in list_runs(results_dir):
            if not _is_comparable(info, identity):
                continue
            if wanted is None and material_ids is not None:
                wanted = pa.array(sorted(set(material_ids)), pa.string())
            try:
                found = found._with_run(results_dir / str(info["run_id"]), info, identity, wanted)
            except TableError as error:
                logger.warning("The previous run %s is left out of the comparison. %s", info["run_id"], error)
        return found

    def _with_run(
        self, folder: Path, info: Mapping[str, Any], identity: Mapping[str, Any], wanted: pa.Array | None
    ) -> PreviousRuns:
        """These runs and a later one."""
        path = folder / f"{TableName.CANDIDATES}.parquet"
        if Column.STRUCTURE_HASH not in require_columns(path, [Column.MATERIAL_ID]):
            return self
        known_table = _rows_of(folder / f"{TableName.KNOWN_EDOS}.parquet", [Column.MATERIAL_ID], wanted)
        known = frozenset(known_table[Column.MATERIAL_ID].to_pylist())
        # Plain Python strings are looked up ten times faster than pandas' own.
        rows = to_frame(_rows_of(path, [Column.MATERIAL_ID, Column.STRUCTURE_HASH], wanted)).astype(object)
        both = pd.concat([self.screened, rows.assign(**{Column.RUN_ID: info["run_id"]})], ignore_index=True)
        both = both.drop_duplicates([Column.MATERIAL_ID, Column.STRUCTURE_HASH], keep="last", ignore_index=True)
        asked = _what_is_asked(info) == _what_is_asked(identity)
        asked_before = self.asked_before | frozenset(rows[Column.MATERIAL_ID]) if asked else self.asked_before
        return PreviousRuns(both, known, str(info["run_id"]), asked_before)

    def has_screened(self, candidates: pd.DataFrame) -> NDArray[np.bool_]:
        """Which candidates were screened before with their present structure, shape (n,)."""
        screened = candidates[Column.MATERIAL_ID].isin(self.screened[Column.MATERIAL_ID]).to_numpy(np.bool_, copy=True)
        screened[screened] = _keys(candidates[screened]).isin(_keys(self.screened))
        return screened

    def gone_from(self, present: pd.DataFrame) -> frozenset[str]:
        """Materials screened by runs with the same filters that are not among the present ones."""
        there = present[Column.MATERIAL_ID][present[Column.MATERIAL_ID].isin(list(self.asked_before))]
        return self.asked_before - frozenset(there)

    def last_run_of(self, material_ids: pd.Series) -> pd.Series:
        """The last run that screened each material; null if none did."""
        last = self.screened.drop_duplicates(Column.MATERIAL_ID, keep="last").set_index(Column.MATERIAL_ID)
        return material_ids.map(last[Column.RUN_ID])


def _rows_of(path: Path, columns: Sequence[str], wanted: pa.Array | None) -> pa.Table:
    """Some columns of a table, of the wanted materials."""
    table = read_table(path, columns)
    if wanted is None:
        return table
    return table.filter(pc.is_in(table[Column.MATERIAL_ID].cast(pa.string()), value_set=wanted))


def _is_comparable(info: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    """Whether the present run would make the same predictions and classes."""
    settings, present = info.get("settings"), identity["settings"]
    if not isinstance(settings, Mapping) or not isinstance(settings.get("source"), Mapping):
        return False
    return (
        info["status"] == RunStatus.FINISHED
        and info.get("weights_hashes") == identity["weights_hashes"]
        and settings.get("gap") == present["gap"]
        and settings["source"].get("kind") == present["source"]["kind"]
    )


def _what_is_asked(info: Mapping[str, Any]) -> tuple[Any, Any]:
    settings = info["settings"]
    return settings.get("filters"), settings.get("source", {}).get("limit")


def _keys(rows: pd.DataFrame) -> pd.Series:
    return rows[Column.MATERIAL_ID].astype(object) + " " + rows[Column.STRUCTURE_HASH].astype(object)


def find_changes(candidates: pd.DataFrame, known_edos: Collection[str], previous: PreviousRuns) -> pd.DataFrame:
    """What changed since the previous runs.

    Parameters
    ----------
    candidates
        All candidates of the present run, with their structure hash.
    known_edos
        Materials that have an eDOS now.
    previous
        The previous runs.

    Returns
    -------
    pandas.DataFrame
        Columns `material_id`, `change` (`Change`), `former_run_id` (the last run that screened it, null if none).
        Unchanged materials are left out.
    """
    ids = candidates[Column.MATERIAL_ID]
    lost = ids.isin(list(previous.known_edos)).to_numpy()
    screened = ids.isin(previous.screened[Column.MATERIAL_ID]).to_numpy()
    changed = screened & ~previous.has_screened(candidates)
    names = np.array([str(one) for one in (Change.LOST_EDOS, Change.STRUCTURE, Change.NEW)], dtype=object)
    label = np.select([lost, changed, ~screened], [0, 1, 2], default=-1)
    frame = pd.DataFrame({Column.MATERIAL_ID: ids[label >= 0], Column.CHANGE: names[label[label >= 0]]})
    gained = previous.screened.loc[previous.screened[Column.MATERIAL_ID].isin(set(known_edos) - previous.known_edos)]
    gained = gained.drop_duplicates(Column.MATERIAL_ID)[[Column.MATERIAL_ID]]
    gained = gained.assign(**{Column.CHANGE: str(Change.GAINED_EDOS)})
    changes = pd.concat([frame, gained], ignore_index=True)
    return changes.assign(**{Column.FORMER_RUN_ID: previous.last_run_of(changes[Column.MATERIAL_ID])})


def keep_unscreened(
    candidates: pd.DataFrame, counts: pd.DataFrame, previous: PreviousRuns
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drop candidates that a previous run screened with the same structure, and count that as one more filter."""
    kept = candidates[~previous.has_screened(candidates)].reset_index(drop=True)
    row = {
        Column.FILTER: SCREENED_BEFORE,
        Column.REMOVED: len(candidates) - len(kept),
        Column.UNKNOWN_REMOVED: 0,
        Column.UNKNOWN_KEPT: 0,
        Column.REMAINING: len(kept),
    }
    return kept, pd.concat([counts, pd.DataFrame([row])], ignore_index=True)
