"""What the commands show in a terminal: progress of stages, tables of a run."""

from __future__ import annotations

import sys
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from mat2spec.tables.text import visible
from screening.report.tables import UNKNOWN, frame_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd

# A pipe or a log has no width; all output fits 80 columns.
WIDTH_WITHOUT_TERMINAL = 80
LEAST_WORDS_WIDTH = 30


class PlainConsole(Console):
    """A console that prints text literally: no markup, no emoji codes, no control characters."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a string literally; rich renders all its text here, including that of tables."""
        return super().render_str(visible(text, self.encoding), **{**options, "markup": False, "emoji": False})


console = PlainConsole(
    width=None if sys.stdout is not None and sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, markup=False, emoji=False
)


@contextmanager
def stage_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Progress bar of one stage; the yielded function takes how many of how many are done."""
    columns = (
        TextColumn("{task.description:<22}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    # Without a terminal no bar is drawn: a log gets one line per stage from `say_counts`.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def say_counts(title: str, seconds: float, counts: Mapping[str, int]) -> None:
    """One line about a finished stage."""
    words = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in counts.items())
    say_hanging(f"{title:<22} {seconds:7.1f} s   ", words)


def say_hanging(head: str, words: str) -> None:
    """Print words after a heading, with a hanging indent; no word is broken."""
    width = max(console.width, len(head) + LEAST_WORDS_WIDTH)
    lines = textwrap.wrap(words, width - len(head), break_long_words=False, break_on_hyphens=False) or [""]
    for number, line in enumerate(lines):
        start = " " * len(head) if number else head
        console.print((start + line).rstrip(), markup=False, highlight=False, soft_wrap=True)


def print_frame(frame: pd.DataFrame, title: str) -> None:
    """Print all rows of a table: constant columns once, the others in blocks that fit the terminal.

    The first column is repeated in every block.
    """
    constant = _constant_columns(frame)
    varying = frame.drop(columns=list(constant))
    for number, columns in enumerate(_blocks(varying)):
        console.print(frame_table(varying[columns], title="" if number else title, max_rows=len(frame)))
    for name, value in constant.items():
        console.print(f"{name} = {value or UNKNOWN} in every row", highlight=False)


def print_leading_columns(frame: pd.DataFrame, title: str, first: Sequence[str] = ()) -> None:
    """Print the columns that fit beside each other, `first` before the others, and how to see the rest."""
    names = [str(name) for name in frame.columns]
    leading = [str(name) for name in first if name in names]
    ordered = frame[[*leading, *(name for name in names if name not in leading)]]
    shown = next(_blocks(ordered)) if names else []
    console.print(frame_table(ordered[shown], title=title, max_rows=len(frame)))
    if len(shown) < len(names):
        say_hanging(
            "",
            f"{len(names) - len(shown)} more columns: --columns all shows them, --describe says what they mean, "
            "--output FILE.csv writes them.",
        )


def _constant_columns(frame: pd.DataFrame) -> dict[str, str]:
    """Long values that are the same in every row."""
    constant = {}
    for name in frame.columns:
        values = frame[name]
        if len(frame) > 1 and isinstance(values.iloc[0], str) and (values == values.iloc[0]).all():
            constant[str(name)] = values.iloc[0]
    return constant


def _blocks(frame: pd.DataFrame) -> Iterator[list[str]]:
    """Columns of each block; a column that does not fit alone gets a block of its own."""
    names = [str(name) for name in frame.columns]
    block = names[:1]
    for name in names[1:]:
        table = frame_table(frame[[*block, name]], max_rows=len(frame))
        if (
            len(block) > 1
            and console.measure(table, options=console.options.update(max_width=10_000)).maximum > console.width
        ):
            yield block
            block = names[:1]
        block = [*block, name]
    yield block
