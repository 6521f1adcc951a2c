"""What a Prefect run shows in the UI: tables, timings and progress."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from mat2spec.tables.columns import Column
from screening.choose.selection import rank_by_consensus
from screening.report.result_page import PAGE_FILE
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

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


def publish(run: RunFolder) -> None:
    """Show the tables of a run as artifacts."""
    _show(PRECISION_RECALL_KEY, run.read_table(TableName.PRECISION_RECALL), "Precision and recall against DFT", run)
    _show(FILTERS_KEY, run.read_table(TableName.FILTER_COUNTS), "What each filter removed", run)
    _show(GAPPED_METALS_KEY, most_confident(run), "Most confident predicted gapped metals", run)
    _show(CHANGES_KEY, run.read_table(TableName.CHANGES).head(N_CHANGES), "What is new since previous runs", run)
    page = (run.path / PAGE_FILE).resolve()
    create_link_artifact(page.as_uri(), link_text=str(page), key=PAGE_KEY, description=f"Page of the run {run.run_id}")
    create_table_artifact(stage_rows(run), key=STAGES_KEY, description=f"Counts and timings of the run {run.run_id}")


def most_confident(run: RunFolder) -> pd.DataFrame:
    """Predicted gapped metals, the most confident first."""
    columns = [Column.MATERIAL_ID, Column.MODEL, Column.GAPPED_METAL_CONFIDENCE, Column.GAP_WIDTH_EV]
    there = run.column_names(TableName.CLASSIFICATIONS)
    more = [Column.IS_GAPPED_METAL, Column.IS_TARGET, Column.TRUST, Column.CONSENSUS_CONFIDENCE]
    classes = run.read_table(TableName.CLASSIFICATIONS, [*columns, *(name for name in more if name in there)])
    return rank_by_consensus(classes)[columns].head(N_GAPPED_METALS)


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


@contextmanager
def progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """Progress bar in the UI; the yielded function takes how many of how many are done."""
    artifact_id = create_progress_artifact(0.0, description=description)
    shown = 0

    def report(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if percent > shown:  # one call to the server per percent, not per batch
            update_progress_artifact(artifact_id, progress=float(percent))  # type: ignore[arg-type]
            shown = percent

    yield report
    report(1, 1)


def _show(key: str, table: pd.DataFrame, description: str, run: RunFolder) -> None:
    create_table_artifact(_json_rows(table), key=key, description=f"{description}; run {run.run_id}")


def _json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows that JSON can hold: nulls for missing numbers, and a readable number of digits."""
    rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
    return [{str(name): _rounded(value) for name, value in row.items()} for row in rows]


def _rounded(value: Any) -> Any:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value
