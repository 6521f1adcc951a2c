"""What the commands show in a terminal: progress of stages, tables of a run."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# A pipe or a log has no width of its own; 80 columns would cut identifiers.
WIDTH_WITHOUT_TERMINAL = 140

console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)

STAGE_TITLES = {
    "find_candidates": "Find candidates",
    "predict_spectra": "Predict spectra",
    "classify_predictions": "Classify predictions",
    "queue_dft": "Queue DFT",
    "run_dft": "Run DFT",
    "evaluate": "Evaluate",
}


@contextmanager
def stage_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Progress bar of one stage; the yielded function takes how many of how many are done."""
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Without a terminal no bar is drawn: a log gets one line per stage from `say_counts`.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def say_counts(title: str, seconds: float, counts: Mapping[str, int]) -> None:
    """One line about a finished stage."""
    words = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in counts.items())
    console.print(f"{title:<22} {seconds:7.1f} s   {words}", highlight=False, soft_wrap=True)
