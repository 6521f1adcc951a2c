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
    """Name the page of a run: its picks to sort, filter and look at, with spectra, structures, DFT, precision, recall.

    The page is one file that needs no network; every screen writes it. Of a run that is under way or
    of an older version it is made from what is there.

    **Examples**

        mat2spec report --open

        mat2spec report 20261123T020654Z-1a2b3c4d
    """
    commands.report.make_report(run, results_dir, open_it=open_it)
