"""`mat2spec report`: the page of a run, in the browser."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING

from flows.commands.dft import write_report
from flows.commands.tables import find_run
from flows.commands.terminal import console
from flows.settings_layers import load_settings
from screening.report.result_page import PAGE_FILE

if TYPE_CHECKING:
    from pathlib import Path


def make_report(run_name: str | None, results_dir: Path | None, *, open_it: bool) -> None:
    """Print the path of a run's page; write it if it is missing or the run unfinished; open it if asked to."""
    run = find_run(run_name, results_dir or load_settings().results_dir)
    path = run.path / PAGE_FILE
    if path.exists() and run.is_finished:
        console.print(f"Page: {path}", soft_wrap=True)
    else:
        path = write_report(str(run.path), None)
    if open_it and not webbrowser.open(path.resolve().as_uri()):
        console.print("No browser could be opened here; open the file in one.")
