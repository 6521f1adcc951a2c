"""The command `mat2spec tables`: its options and its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ResultsOption, RunArgument

DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="FOLDER|ADDRESS",
        help="Add all tables to this partitioned dataset, also s3://bucket/folder.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Write to this file instead: .csv, .parquet, .txt (identifiers) or .cif (crystals)."
    ),
]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="DATE|RELEASE", help="With `new`: what runs found new since then.")
]


NameArgument = Annotated[
    str | None, typer.Argument(metavar="NAME", help="Table to print; lists all tables without it.")
]
ColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", help="Columns, separated by commas, or all; by default as many as fit the terminal."),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", "-n", min=0, help="Rows; 0: all. By default 20 in the terminal, and all in a file."),
]
SqlOption = Annotated[
    str | None, typer.Option("--sql", metavar="QUERY", help="SQL over all tables of the run, each by its name.")
]


def tables(
    run_or_name: RunArgument = None,
    name: NameArgument = None,
    columns: ColumnsOption = None,
    where: Annotated[str | None, typer.Option("--where", help="Rows to show, as an SQL condition.")] = None,
    sort: Annotated[str | None, typer.Option("--sort", help="Column to sort by; with a leading - descending.")] = None,
    limit: LimitOption = None,
    output: OutputOption = None,
    sql: SqlOption = None,
    describe: Annotated[bool, typer.Option("--describe", help="Say what the columns of the table mean.")] = False,
    since: SinceOption = None,
    dataset: DatasetOption = None,
    results_dir: ResultsOption = None,
) -> None:
    """Print the result tables of a run, rows of one of them, or what is new since a date or a release.

    **Examples**

        mat2spec tables

        mat2spec tables picks --columns pick_rank,material_id,formula,gap_width_ev -n 10

        mat2spec tables picks --where "dft_verdict = 'gapped metal'" -o picks.cif

        mat2spec tables picks --describe

        mat2spec tables --sql "select * from spectra where material_id = 'mp-149'" -o spectra.csv

        mat2spec tables classifications --where "is_gapped_metal" --sort=-gapped_metal_confidence -n 10

        mat2spec tables 20261123T020654Z-1a2b3c4d dft_results --output dft.csv

        mat2spec tables --dataset s3://bucket/screens

        mat2spec tables new

        mat2spec tables new --since 2026-11-01 --where "gapped_metal_by is not null"

        mat2spec tables new --since 2026.10.1
    """
    if run_or_name == "new" and name is None:
        commands.tables.print_new(since, commands.tables.RowChoice(columns, where, sort, limit), output, results_dir)
        return
    if sql is not None:
        if name or columns or where or sort:
            raise typer.BadParameter(
                "--sql is a complete query; it can be combined only with RUN, --limit and --output."
            )
        commands.tables.print_query(run_or_name, sql, limit, output, results_dir)
        return
    if dataset is not None:
        if name or columns or where or sort or output:
            raise typer.BadParameter("--dataset takes all tables of a run; it can be combined only with RUN.")
        commands.tables.write_dataset(run_or_name, dataset, results_dir)
        return
    if since is not None:
        raise typer.BadParameter("--since works only with `mat2spec tables new`.")
    choice = commands.tables.RowChoice(columns, where, sort, limit)
    commands.tables.print_tables(run_or_name, name, choice, output, results_dir, describe=describe)
