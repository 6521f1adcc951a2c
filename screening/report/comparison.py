"""What changed between two runs: settings, weights, candidates, gapped metals, DFT, precision and recall."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import is_true
from mat2spec.tables.status import Status
from screening.choose.selection import known_consensus, rank_by_consensus, target_of
from screening.evaluate.evaluation import POPULATION, VALIDATED_SET
from screening.report.picks import dft_verdict
from screening.report.wording import target_of_run
from screening.runs.contents import RunTables
from screening.runs.record import RunError
from screening.runs.schemas import TableName

# Followed by what the run searched for, as in "now a gapped metal".
APPEARED, DISAPPEARED = "now", "no longer"
ADDED, DROPPED = "now a candidate,", "no longer a candidate, was"
DFT_CHANGED = "DFT verdict changed"
CHANGE, BEFORE, AFTER = "change", "before", "after"


@dataclass(frozen=True)
class Comparison:
    """What changed between two runs.

    Parameters
    ----------
    conditions
        Settings, weights and versions that differ: `setting`, `before`, `after`.
    counts
        Figures of both runs, beside each other: `what`, `before`, `after`.
    materials
        Materials whose verdict changed: `change`, `material_id`, `formula`, and the values before and after: mean
        confidence of the models, or verdict of DFT.
    before, after
        Names of the runs.
    """

    conditions: pd.DataFrame
    counts: pd.DataFrame
    materials: pd.DataFrame
    before: str = ""
    after: str = ""


def compare_runs(before: RunTables, after: RunTables) -> Comparison:
    """Compare two runs, which may differ in rule, weights and source.

    Raises
    ------
    RunError
        If one of them stopped before its predictions were classified.
    """
    for run in (before, after):
        if not run.has_table(TableName.CLASSIFICATIONS):
            raise RunError(
                f"The run {run.run_id} stopped before its predictions were classified; run the same `mat2spec screen` command "
                "again to resume it."
            )
    old, new = _Verdicts(before), _Verdicts(after)
    return Comparison(_conditions(before, after), _counts(old, new), _materials(old, new), before.run_id, after.run_id)


def _conditions(before: RunTables, after: RunTables) -> pd.DataFrame:
    old, new = _described(before.info), _described(after.info)
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key, "") != new.get(key, ""))
    return pd.DataFrame(
        {"setting": keys, BEFORE: [old.get(k, "") for k in keys], AFTER: [new.get(k, "") for k in keys]}
    )


def _described(info: Mapping[str, Any]) -> dict[str, str]:
    """Everything that determines a run's tables, by name."""
    package = info.get("versions", {}).get("mat2spec-screening", "")
    named = {"version": package, "database": str(info.get("db_version", ""))}
    weights = {f"weights.{model}": str(digest)[:12] for model, digest in info.get("weights_hashes", {}).items()}
    return named | weights | dict(_flattened(info.get("settings", {}), ""))


def _flattened(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            # What is not set is like a setting that an older run does not have.
            yield f"{prefix}{key}", "" if value is None else str(value)


def _counts(before: _Verdicts, after: _Verdicts) -> pd.DataFrame:
    old, new = dict(_figures(before)), dict(_figures(after))
    names = [*old, *(name for name in new if name not in old)]
    return pd.DataFrame(
        {"what": names, BEFORE: [old.get(n, "") for n in names], AFTER: [new.get(n, "") for n in names]}
    )


def _figures(found: _Verdicts) -> Iterator[tuple[str, str]]:
    yield "candidates", f"{len(found.candidates):,}"
    flag = target_of(found.classes)
    yield f"{found.words.heading} by any model", f"{len(found.hits):,}"
    for model, rows in found.classes.groupby(Column.MODEL):
        yield f"{found.words.heading} by {model}", f"{int(is_true(rows[flag]).sum()):,}"
    if found.dft:
        yield "computed by DFT", f"{len(found.dft):,}"
    if found.run.has_table(TableName.PRECISION_RECALL):
        yield from _scores(found.run.read_table(TableName.PRECISION_RECALL))


def _scores(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    rows = table[table[Column.TARGET] == Column.IS_GAPPED_METAL]
    words = {VALIDATED_SET: "validated set", POPULATION: "population"}
    for row in rows.to_dict("records"):
        for score in (Column.PRECISION, Column.RECALL):
            if pd.notna(row[score]):
                estimate = words.get(row[Column.ESTIMATE], row[Column.ESTIMATE])
                low, high = (row.get(f"{score}_{end}") for end in ("low", "high"))
                interval = f" [{low:.2f}, {high:.2f}]" if pd.notna(low) else ""
                yield f"{score} of {row[Column.MODEL]}, {estimate}", f"{row[score]:.2f}{interval}"


def _dft(run: RunTables) -> dict[str, str]:
    """Verdict of DFT by material."""
    if not run.has_table(TableName.DFT_RESULTS):
        return {}
    rows = run.read_table(TableName.DFT_RESULTS).drop_duplicates(Column.MATERIAL_ID, keep="last").to_dict("records")
    return {row[Column.MATERIAL_ID]: dft_verdict(row) for row in rows if row[Column.STATUS] == Status.OK}


def _materials(old: _Verdicts, new: _Verdicts) -> pd.DataFrame:
    came = sorted(new.hits - old.hits, key=new.place)
    went = sorted(old.hits - new.hits, key=old.place)
    both = sorted(old.dft.keys() & new.dft.keys())
    rows = [
        *(_change(APPEARED if name in old.candidates else ADDED, new, name, old, new) for name in came),
        *(_change(DISAPPEARED if name in new.candidates else DROPPED, old, name, old, new) for name in went),
        *((DFT_CHANGED, name, old.dft[name], new.dft[name]) for name in both if old.dft[name] != new.dft[name]),
    ]
    formulas = old.candidates | new.candidates
    frame = pd.DataFrame(rows, columns=[CHANGE, str(Column.MATERIAL_ID), BEFORE, AFTER])
    frame.insert(2, str(Column.FORMULA), [formulas[name] for name in frame[Column.MATERIAL_ID]])
    return frame


def _change(kind: str, searched: _Verdicts, name: str, old: _Verdicts, new: _Verdicts) -> tuple[str, str, str, str]:
    """A row on a material that is found in one of the runs only, in the words of the run that found it."""
    return f"{kind} {searched.words.singular}", name, old.score(name), new.score(name)


class _Verdicts:
    """Candidates of a run with formulas, its gapped metals, the models' mean confidence in each, and its DFT."""

    def __init__(self, run: RunTables) -> None:
        self.run = run
        table = run.read_table(TableName.CANDIDATES, [Column.MATERIAL_ID, Column.FORMULA])
        self.candidates = dict(zip(table[Column.MATERIAL_ID], table[Column.FORMULA], strict=True))
        self.classes = run.read_table(TableName.CLASSIFICATIONS)
        self.words = target_of_run(run.info)
        self.hits = set(rank_by_consensus(self.classes)[Column.MATERIAL_ID])
        self.dft = _dft(run)
        self.confidence = known_consensus(self.classes).groupby(self.classes[Column.MATERIAL_ID]).first().to_dict()

    def place(self, material_id: str) -> tuple[float, str]:
        """Sorts the most confident first; what no model knows comes last."""
        value = self.confidence[material_id]
        return (1.0 if pd.isna(value) else -value), material_id

    def score(self, material_id: str) -> str:
        value = self.confidence.get(material_id)
        return "" if value is None or pd.isna(value) else f"{value:.2f}"
