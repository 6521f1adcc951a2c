"""The command `mat2spec report`: its options and its help."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ResultsOption, RunArgument


def report(
    run: RunArgument = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    results_dir: ResultsOption = None,
) -> None:
    """Print where the result page of a run is: picks to sort and filter, spectra, structures, DFT, precision, recall.

    The page is a single file that works offline; every screen writes it. For an unfinished run, or one
    of an older version, it is made from the tables that exist.

    **Examples**

        mat2spec report --open

        mat2spec report 20261123T020654Z-1a2b3c4d
    """
    commands.report.make_report(run, results_dir, open_it=open_it)
