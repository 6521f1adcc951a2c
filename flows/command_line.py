"""The program `mat2spec`: its commands, their options and their help.

Only the standard library and typer are imported here; each command imports what it needs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from flows.benchmark_command_line import benchmark_app
from flows.dft_command_line import dft_app
from flows.errors import ExitCode, TerminatedError, end_on_sigterm, sentence_of
from flows.fetch_command_line import fetch_app
from flows.options import ConfigOption, SetOption
from flows.train_command_line import train_app

# The class of all errors of usage: click's, or that of the copy of click which newer versions of typer bring along.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]

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

    mat2spec tables                  # what the last run found

    mat2spec predict my_crystal.cif  # the density of states of one crystal

Every setting has a description: `mat2spec settings`. Every command has examples: `mat2spec COMMAND --help`.""",
)
app.add_typer(dft_app, name="dft")
app.add_typer(train_app, name="train")
app.add_typer(fetch_app, name="fetch")
app.add_typer(benchmark_app, name="benchmark")

DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda or auto; short for --set prediction.device=...")]
ModelOption = Annotated[
    list[str] | None, typer.Option("--model", "-m", help="Model to predict with; may be repeated. Default: all.")
]


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with every error.")] = False,
) -> None:
    """Describe options of all commands; `main` itself looks for --debug, so that it may stand anywhere."""


@app.command()
def screen(
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            metavar="SOURCE",
            help="Parquet table of crystals, or materials-project; the embedded catalogue by default.",
        ),
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    results_dir: Annotated[Path | None, typer.Option("--results-dir", help="Folder of all runs.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many materials of the source.")] = None,
    models: ModelOption = None,
    device: DeviceOption = None,
    dft: Annotated[bool, typer.Option("--dft/--no-dft", help="Run the queued DFT jobs, or only queue them.")] = True,
    only_new: Annotated[bool, typer.Option("--only-new", help="Only what no former run has screened.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what the screen would do.")] = False,
) -> None:
    """Screen crystals for gapped metals: filter, predict, classify, compute the best by DFT, evaluate.

    Tables go to `results/RUN/`, and `results/latest` names the last finished run. A run that was
    stopped goes on where it was when the same command is given again.

    **Examples**

        mat2spec screen

        mat2spec screen --source crystals.parquet --no-dft

        mat2spec screen --source materials-project   # API key: environment variable MP_API_KEY

        mat2spec screen --source materials-project-open --only-new   # the open data need no key

        mat2spec screen --set filters.n_elements_max=3 --set gap.min_width_ev=1.2

        mat2spec screen --config my_screen.yaml --dry-run
    """
    from flows.commands.screen import screen_crystals

    given = {
        **_source(source),
        "source.limit": limit,
        "results_dir": results_dir,
        "prediction.models": models or None,
        "prediction.device": device,
        "run_dft": None if dft else False,
        "only_new": True if only_new else None,
    }
    screen_crystals(config, _assignments(given, assignments), dry_run=dry_run)


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CIF, POSCAR or pymatgen JSON files.")],
    table: Annotated[Path, typer.Option("--table", "-t", help="Where the table goes: .parquet or .csv.")] = Path(
        "predictions.parquet"
    ),
    plot: Annotated[Path, typer.Option("--plot", "-p", help="Where the plot goes: .html or .png.")] = Path(
        "predictions.html"
    ),
    spectrum: Annotated[
        str, typer.Option("--spectrum", help="edos: electronic, or phdos: phonon density of states.")
    ] = "edos",
    config: ConfigOption = None,
    assignments: SetOption = None,
    models: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Predict the electronic or phonon density of states of the crystals in files.

    A file that cannot be read or predicted is a row of the table with its reason, the others go
    on; the exit code is 1 then.

    **Examples**

        mat2spec predict SrVO3.cif

        mat2spec predict *.cif --table dos.csv --plot dos.png

        mat2spec predict POSCAR --model mat2spec

        mat2spec predict POSCAR --spectrum phdos   # by sitedos, the best model of phonons
    """
    from flows.commands.predict import predict_files

    chosen = models or (["sitedos"] if spectrum == "phdos" else None)
    given = {"prediction.models": chosen, "prediction.device": device}
    raise typer.Exit(predict_files(files, table, plot, config, _assignments(given, assignments), spectrum))


@app.command()
def tables(
    run_or_name: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Run id or folder; the last finished run by default.")
    ] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Table; without it all are listed.")] = None,
    columns: Annotated[str | None, typer.Option("--columns", help="Columns, separated by commas.")] = None,
    where: Annotated[str | None, typer.Option("--where", help="Rows to show, as an SQL condition.")] = None,
    sort: Annotated[str | None, typer.Option("--sort", help="Column to sort by; with a leading - descending.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Rows to show; 0 shows all.")] = 20,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the rows to this .csv or .parquet file instead.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DATE|RELEASE", help="With `new`: what runs found new since then."),
    ] = None,
    results_dir: Annotated[Path | None, typer.Option("--results-dir", help="Folder of all runs.")] = None,
) -> None:
    """Print the result tables of a run, or rows of one of them; or what is new since a day or a release.

    **Examples**

        mat2spec tables

        mat2spec tables precision_recall

        mat2spec tables classifications --where "is_gapped_metal" --sort=-gapped_metal_confidence -n 10

        mat2spec tables 20261123T020654Z-1a2b3c4d dft_results --output dft.csv

        mat2spec tables new

        mat2spec tables new --since 2026-11-01 --where "gapped_metal_by is not null"

        mat2spec tables new --since 2026.10.1
    """
    from flows.commands.tables import print_new, print_tables

    if run_or_name == "new" and name is None:
        print_new(since, columns, where, sort, limit, output, results_dir)
        return
    if since is not None:
        raise typer.BadParameter("--since goes with `mat2spec tables new`.")
    print_tables(run_or_name, name, columns, where, sort, limit, output, results_dir)


@app.command()
def settings(
    pattern: Annotated[str | None, typer.Argument(metavar="WORD", help="Only settings with this word.")] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print a settings file with all values.")] = False,
) -> None:
    """Show every setting: its value, where that comes from, its default and what it means.

    The command line wins over the environment (`MAT2SPEC_GAP__MIN_WIDTH_EV=1.2`), that over the
    file, that over the default.

    **Examples**

        mat2spec settings

        mat2spec settings gap

        mat2spec settings --yaml > my_screen.yaml
    """
    from flows.commands.settings import print_settings

    print_settings(pattern, config, assignments or [], as_yaml=as_yaml)


@app.command()
def serve(
    config: ConfigOption = None,
    assignments: SetOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Start a Prefect server with its UI and serve the deployment `screen-gapped-metals`; Ctrl-C stops all.

    **Examples**

        mat2spec serve

        mat2spec serve --set serve.schedule_active=true

    and in another terminal, in the folder of the project:

        prefect deployment run screen-gapped-metals
    """
    from flows.deployments import serve_screen

    serve_screen(config, _assignments({"serve.host": host, "serve.port": port}, assignments))


@app.command()
def label(
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="TABLE", help="Parquet table of crystals, or catalogue (the default)."),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", min=1, help="Crystals to label.")] = None,
    choice: Annotated[
        str | None, typer.Option("--choice", help="random, chemistry, gapped or uncertainty; default: chemistry.")
    ] = None,
    ids: Annotated[
        Path | None, typer.Option("--ids", metavar="FILE", help="Label these crystals: one material_id a line.")
    ] = None,
    from_run: Annotated[
        str | None, typer.Option("--from-run", metavar="RUN", help="Add the DFT results of a screen; or: latest.")
    ] = None,
    collect_only: Annotated[
        bool, typer.Option("--collect-only", help="Compute nothing; add what is finished in the cache.")
    ] = False,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Jobs at the same time.")] = None,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="FILE", help="Where the labels go; data/edos_store.parquet.")
    ] = None,
    reserved: Annotated[
        Path | None, typer.Option("--reserved", metavar="FILE", help="Ids and formulas that are never labelled.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="MAT2SPEC_DATA_DIR", help="Folder whose reserved_ids.txt is used without it."),
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Compute electronic densities of states of chosen crystals by DFT, to train on.

    Labels go to the eDOS store that `mat2spec train edos` reads. Finished jobs are never computed
    again: a labelling that was stopped goes on where it was when the same command is given again.

    **Examples**

        mat2spec label --n 50 --workers 2

        mat2spec label --n 20 --choice uncertainty --reserved reserved_ids.txt

        mat2spec label --source crystals.parquet --ids ids.txt --store my_labels.parquet

        mat2spec label --collect-only

        mat2spec label --from-run latest
    """
    from flows.commands.label import label as label_crystals

    given = {
        **_source(source),
        "label.n": n,
        "label.choice": choice,
        "label.store": store,
        "label.reserved": reserved,
        "dft.workers": workers,
    }
    label_crystals(
        config, _assignments(given, assignments), data=data, ids=ids, from_run=from_run, collect_only=collect_only
    )


@app.command()
def engines() -> None:
    """List the DFT engines and say which can be used here."""
    from flows.commands.engines import print_engines

    print_engines()


def _source(source: Path | str | None) -> dict[str, object]:
    """Settings of a source that is named on the command line: one of ours by its name, else a table."""
    ours = str(source) in {"catalogue", "materials-project", "materials-project-open"}
    return {
        "source.kind": None if source is None else str(source) if ours else "parquet",
        "source.path": None if ours else source,
    }


def _assignments(given: Mapping[str, object], assignments: list[str] | None) -> list[str]:
    """Options as assignments; an explicit --set comes last and wins."""
    import json

    named = [f"{key}={json.dumps(value, default=str)}" for key, value in given.items() if value is not None]
    return named + (assignments or [])


def main() -> None:
    """Run the program and end it with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the program; errors are sentences on standard error.

    Returns
    -------
    int
        The exit code: see `flows.errors.ExitCode`.
    """
    debug = "--debug" in arguments
    end_on_sigterm()
    command = typer.main.get_command(app)
    try:
        # Not command.main(), which turns every KeyboardInterrupt into an exit without a word.
        with command.make_context("mat2spec", [word for word in arguments if word != "--debug"]) as context:
            command.invoke(context)
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
        typer.echo(sentence, err=True)
        return ExitCode.FAILED
    return ExitCode.DONE


def _interrupted(interrupt: KeyboardInterrupt) -> int:
    sentence = str(interrupt) or "Stopped."
    typer.echo(f"\n{sentence}", err=True)
    return ExitCode.TERMINATED if isinstance(interrupt, TerminatedError) else ExitCode.INTERRUPTED
