"""`mat2spec engines`: which DFT engines can be used here."""

from __future__ import annotations

from rich.table import Table

from dft_validation.engines import available_engines
from flows.commands.terminal import console


def print_engines() -> None:
    """Print every engine and whether it can be used, with the reason if not."""
    table = Table("engine", "usable here", title="DFT engines")
    for engine, why_not in available_engines().items():
        table.add_row(engine, why_not or "yes")
    console.print(table)
