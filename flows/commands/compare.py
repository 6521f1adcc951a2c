"""`mat2spec compare`: what changed from one run to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.commands.table_files import TABLE_ENDINGS, check_ending, write_rows
from flows.commands.tables import find_run
from flows.commands.terminal import console, print_frame
from flows.settings_layers import load_settings
from mat2spec.tables.parquet import to_arrow
from screening.report.comparison import AFTER, BEFORE, compare_runs

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def print_comparison(before: str, after: str | None, limit: int, output: Path | None, results_dir: Path | None) -> None:
    """Print what differs between two runs, or write the materials whose verdict changed to a file."""
    if output is not None:
        check_ending(output, TABLE_ENDINGS)
    folder = results_dir or load_settings().results_dir
    old, new = find_run(before, folder), find_run(after, folder)
    found = compare_runs(old, new)
    if output is not None:
        write_rows(to_arrow(found.materials), output)
        console.print(f"Wrote {len(found.materials):,} changes to {output}", soft_wrap=True, highlight=False)
        return
    console.print(f"Before: {old.run_id}\nAfter:  {new.run_id}", highlight=False, soft_wrap=True)
    _print_conditions(found.conditions)
    print_frame(found.counts, "Figures of both runs")
    if found.materials.empty:
        console.print("No material changed its verdict.")
        return
    shown = found.materials.head(limit) if limit else found.materials
    print_frame(shown, f"Changed verdicts: {len(shown):,} of {len(found.materials):,}")


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
