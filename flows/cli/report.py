"""The command `mat2spec report`: its options and its help."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ResultsOption, RunArgument


def report(
    run: RunArgument = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    against: Annotated[
        str | None, typer.Option("--against", metavar="RUN", help="Write a page with another run beside this one.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page to this machine: drop a CIF on it, see its spectra.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of --serve; 0 takes any that is free.")] = 8642,
    results_dir: ResultsOption = None,
) -> None:
    """Print where the result page of a run is: picks to sort and filter, spectra, structures, DFT, precision, recall.

    The page is a single file that works offline; every screen writes it. For an unfinished run, or one
    of an older version, it is made from the tables that exist.

    **Examples**

        mat2spec report --open

        mat2spec report --serve --open   # with a place for your own crystals

        mat2spec report --against 20261123T020654Z-1a2b3c4d   # what changed, and both spectra of a pick
    """
    if serve and against is not None:
        raise typer.BadParameter("give --serve or --against, not both")
    if serve:
        commands.report.serve_report(run, results_dir, open_it=open_it, port=port)
    else:
        commands.report.make_report(run, results_dir, open_it=open_it, against=against)
