"""The program `mat2spec`: its commands, its help and its exit codes.

This module and those with the commands' options import only the standard library and typer; the commands themselves
are in `flows.commands` and are imported when they run.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib import metadata
from typing import Annotated

import typer

from flows.cli.benchmark import benchmark_app
from flows.cli.compare import compare
from flows.cli.deploy import deploy
from flows.cli.dft import dft_app
from flows.cli.engines import engines
from flows.cli.fetch import fetch_app
from flows.cli.label import label
from flows.cli.predict import predict
from flows.cli.report import report
from flows.cli.screen import screen
from flows.cli.serve import serve
from flows.cli.settings import settings
from flows.cli.tables import tables
from flows.cli.train import train_app
from flows.cli.why import why
from flows.commands.exits import ExitCode, TerminatedError, end_on_sigterm, sentence_of
from mat2spec.tables.text import visible

# The base class of all usage errors: click's own, or that of the copy of click bundled with newer versions of typer.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]

DISTRIBUTION = "mat2spec-screening"

app = typer.Typer(
    name="mat2spec",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Find gapped metals among crystals: predict electronic densities of states, check the best by DFT.

A **gapped metal** is a metal with a gap in its valence band, just below the Fermi level.

**First steps**

    mat2spec screen                  # screen the embedded catalogue, DFT included

    mat2spec report --open           # what the last run found, in the browser

    mat2spec tables picks            # the same as a table

    mat2spec predict my_crystal.cif  # the density of states of one crystal

Every setting has a description: `mat2spec settings`. Every command has examples: `mat2spec COMMAND --help`.""",
)
for command in (screen, predict, report, tables, why, compare, settings, serve, deploy, label, engines):
    app.command()(command)
for name, group in {
    "dft": dft_app,
    "train": train_app,
    "fetch": fetch_app,
    "benchmark": benchmark_app,
}.items():
    app.add_typer(group, name=name)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mat2spec {metadata.version(DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with every error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Describe the options of all commands; `main` itself looks for --debug, which may stand anywhere."""


def main() -> None:
    """Run the program and exit with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the program; errors are sentences on standard error.

    Returns
    -------
    int
        The exit code: see `flows.commands.exits.ExitCode`.
    """
    debug = "--debug" in arguments
    end_on_sigterm()
    if logging.lastResort is not None:  # which prints warnings where nobody has set up logging
        logging.lastResort.setFormatter(_VisibleFormatter())
    program = typer.main.get_command(app)
    if not _has_folder():
        typer.echo("The current folder no longer exists; change to one that does (cd).", err=True)
        return ExitCode.FAILED
    try:
        # Not program.main(), which turns every KeyboardInterrupt into a silent exit.
        with program.make_context("mat2spec", [word for word in arguments if word != "--debug"]) as context:
            program.invoke(context)
    except typer.Exit as leave:
        return leave.exit_code
    except KeyboardInterrupt as interrupt:
        return _interrupted(interrupt)
    except Exception as error:
        if isinstance(error, USAGE_ERROR):
            error.show()  # type: ignore[attr-defined]
            return ExitCode.WRONG_USE
        sentence = sentence_of(error)
        if debug or sentence is None:
            raise
        typer.echo(visible(sentence), err=True)
        return ExitCode.FAILED
    return ExitCode.DONE


def _has_folder() -> bool:
    """Whether the current folder is still there: libraries fail without one, and blame themselves."""
    try:
        return bool(os.getcwd())  # noqa: PTH109  pathlib would be imported for this alone
    except OSError:
        return False


class _VisibleFormatter(logging.Formatter):
    """Shows control characters of names in a message as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _interrupted(interrupt: KeyboardInterrupt) -> int:
    sentence = str(interrupt) or "Stopped."
    typer.echo(f"\n{visible(sentence)}", err=True)
    return ExitCode.TERMINATED if isinstance(interrupt, TerminatedError) else ExitCode.INTERRUPTED
