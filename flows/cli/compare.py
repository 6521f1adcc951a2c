"""The command `mat2spec compare`: its options and its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ResultsOption


def compare(
    before: Annotated[
        str | None, typer.Argument(metavar="RUN1", help="Run id or folder; the finished run before RUN2 by default.")
    ] = None,
    after: Annotated[
        str | None, typer.Argument(metavar="RUN2", help="Run id or folder; the last finished run by default.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Materials to show; 0 shows all.")] = 20,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the changed materials to this .csv or .parquet file.")
    ] = None,
    results_dir: ResultsOption = None,
) -> None:
    """Show what changed between two runs: settings, weights, gapped metals, DFT, precision and recall.

    **Examples**

        mat2spec compare

        mat2spec compare 20261123T020654Z-1a2b3c4d

        mat2spec compare 20261123T020654Z-1a2b3c4d 20261127T010125Z-16430d24 -o changed.csv
    """
    commands.compare.print_comparison(before, after, limit, output, results_dir)
