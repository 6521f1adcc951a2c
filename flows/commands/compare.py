"""`mat2spec compare`: what changed from one run to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.commands.table_files import TABLE_ENDINGS, check_ending, write_rows
from flows.commands.tables import find_run
from flows.commands.terminal import console, print_frame
from flows.settings_layers import load_settings
from mat2spec.tables.parquet import to_arrow
from mat2spec.tables.text import counted
from screening.report.comparison import AFTER, BEFORE, compare_runs
from screening.runs.record import RunError
from screening.runs.releases import finished_runs

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from screening.runs.folder import RunFolder


def print_comparison(
    before: str | None, after: str | None, limit: int, output: Path | None, results_dir: Path | None
) -> None:
    """Print what differs between two runs, or write the materials whose verdict changed to a file.

    Raises
    ------
    RunError
        If a run is missing, or both are the same.
    """
    if output is not None:
        check_ending(output, TABLE_ENDINGS)
    folder = results_dir or load_settings().results_dir
    new = find_run(after, folder)
    old = find_run(before, folder) if before is not None else _run_before(new, folder)
    if old.run_id == new.run_id:
        raise RunError(f"Both runs are {new.run_id}; name the one to compare it with.")
    found = compare_runs(old, new)
    if output is not None:
        write_rows(to_arrow(found.materials), output)
        console.print(f"{counted(len(found.materials), 'change')} written to {output}", soft_wrap=True, highlight=False)
        return
    console.print(f"Before: {old.run_id}\nAfter:  {new.run_id}", highlight=False, soft_wrap=True)
    _print_conditions(found.conditions)
    print_frame(found.counts, "Figures of both runs")
    if found.materials.empty:
        console.print("No material changed its verdict.")
        return
    shown = found.materials.head(limit) if limit else found.materials
    print_frame(shown, f"Changed verdicts: {len(shown):,} of {len(found.materials):,}")


def _run_before(run: RunFolder, folder: Path) -> RunFolder:
    """The last run that finished before another one was started."""
    earlier = [info["run_id"] for info in finished_runs(folder) if info["created"] < run.info["created"]]
    if not earlier:
        raise RunError(f"No run in {folder} finished before {run.run_id}; name the one to compare it with.")
    return find_run(earlier[-1], folder)


def _print_conditions(conditions: pd.DataFrame) -> None:
    if conditions.empty:
        console.print("Settings, weights and database are the same.")
        return
    console.print("Differences:")
    for row in conditions.to_dict("records"):
        console.print(
            f"  {row['setting']}: {row[BEFORE] or '(none)'} -> {row[AFTER] or '(none)'}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
