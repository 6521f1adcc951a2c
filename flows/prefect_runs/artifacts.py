"""What a Prefect run shows in the UI: tables, timings and progress."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.prefect_runs.flow_runs import only_display
from mat2spec.tables.columns import Column
from screening.report.result_page import PAGE_FILE
from screening.report.tables import precision_recall_rows
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from screening.runs.folder import RunFolder

PRECISION_RECALL_KEY = "precision-recall"
STAGES_KEY = "counts-and-timings"
FILTERS_KEY = "filter-counts"
GAPPED_METALS_KEY = "gapped-metals"
CHANGES_KEY = "changes"
PAGE_KEY = "result-page"
N_GAPPED_METALS = 20
N_CHANGES = 200
SIGNIFICANT_DIGITS = 4
_OF_A_PICK = {
    Column.PICK_RANK: "#",
    Column.FORMULA: "formula",
    Column.MATERIAL_ID: "material",
    Column.CONSENSUS_CONFIDENCE: "confidence",
    Column.TRUST: "trust",
    Column.GAP_TOP_EV: "gap top (eV)",
    Column.GAP_WIDTH_EV: "gap width (eV)",
    Column.DFT_VERDICT: "DFT",
}


def publish(run: RunFolder) -> None:
    """Show the tables of a run as artifacts; what Prefect cannot show is said in the log."""
    for key, (rows_of, description) in _TABLES.items():
        with only_display(f"the table {key}"):
            create_table_artifact(rows_of(run), key=key, description=f"{description}; run {run.run_id}")
    page = (run.path / PAGE_FILE).resolve()
    with only_display("the page"):
        create_link_artifact(
            page.as_uri(), link_text=str(page), key=PAGE_KEY, description=f"Page of the run {run.run_id}"
        )


def best_picks(run: RunFolder) -> list[dict[str, Any]]:
    """The picks, best first, as people read them: what it is, how much to trust it, what DFT says."""
    picks = run.read_table(TableName.PICKS).head(N_GAPPED_METALS)
    chosen = {heading: picks[name] for name, heading in _OF_A_PICK.items() if name in picks}
    return _json_rows(pd.DataFrame(chosen))


def score_rows(run: RunFolder) -> list[dict[str, Any]]:
    """Precision and recall in seven columns: one row per model, reference and estimate."""
    return precision_recall_rows(run.read_table(TableName.PRECISION_RECALL))


def stage_rows(run: RunFolder) -> list[dict[str, Any]]:
    """One row per stage of a run: seconds and counts."""
    return [
        {
            "stage": name,
            "seconds": stage["seconds"],
            "counts": ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in stage["counts"].items()),
        }
        for name, stage in run.info["stages"].items()
    ]


def filter_rows(run: RunFolder) -> list[dict[str, Any]]:
    """What each filter removed."""
    return _json_rows(run.read_table(TableName.FILTER_COUNTS))


def change_rows(run: RunFolder) -> list[dict[str, Any]]:
    """What is new since previous runs."""
    return _json_rows(run.read_table(TableName.CHANGES).head(N_CHANGES))


_TABLES: dict[str, tuple[Callable[[RunFolder], list[dict[str, Any]]], str]] = {
    GAPPED_METALS_KEY: (best_picks, "The best picks"),
    PRECISION_RECALL_KEY: (score_rows, "Precision and recall"),
    FILTERS_KEY: (filter_rows, "What each filter removed"),
    CHANGES_KEY: (change_rows, "What is new since previous runs"),
    STAGES_KEY: (stage_rows, "Counts and timings"),
}


@contextmanager
def progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """Progress bar in the UI; the yielded function takes how many of how many are done.

    The work continues without it if Prefect does not answer.
    """
    artifact_id = None
    with only_display(f"the progress of '{description}'"):
        artifact_id = create_progress_artifact(0.0, description=description)
    shown = 0

    def report(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if artifact_id is not None and percent > shown:  # one call to the server per percent, not per batch
            shown = percent
            with only_display(f"the progress of '{description}'"):
                update_progress_artifact(artifact_id, progress=float(percent))  # type: ignore[arg-type]

    yield report
    report(1, 1)


def _json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows that JSON can hold: nulls for missing and infinite numbers, and a readable number of digits."""
    rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
    return [{str(name): _rounded(value) for name, value in row.items()} for row in rows]


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
