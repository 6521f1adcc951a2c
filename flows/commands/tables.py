"""`mat2spec tables`: print result tables of a run, filtered, sorted and limited by DuckDB."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow.parquet as pq
from rich.table import Table

from flows.commands.table_files import (
    CIF_ENDING,
    IDS_ENDING,
    TABLE_ENDINGS,
    check_ending,
    material_ids,
    write_cif,
    write_ids,
    write_rows,
)
from flows.commands.terminal import console, print_frame
from flows.settings_layers import load_settings
from mat2spec.tables.parquet import to_arrow, to_frame
from screening.report.news import new_materials
from screening.report.queries import query
from screening.runs.dataset import add_to_dataset
from screening.runs.folder import RunFolder
from screening.runs.record import RunError, latest_run
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


class TableChoiceError(ValueError):
    """The requested rows cannot be shown; the message says why."""


def print_tables(
    run_or_name: str | None,
    name: str | None,
    columns: str | None,
    where: str | None,
    sort: str | None,
    limit: int,
    output: Path | None,
    results_dir: Path | None,
) -> None:
    """Print the list of a run's tables, or the rows of one."""
    if run_or_name in set(TableName) and name is None:
        run_or_name, name = None, run_or_name
    run = find_run(run_or_name, results_dir or load_settings().results_dir)
    if name is None:
        _print_list(run)
        return
    path = _table_path(run, name)
    rows = select_rows(path, columns, where, sort, limit)
    if output is not None:
        _write(rows, output, run)
        return
    _print_rows(rows, f"{name} of {run.run_id}")


def print_query(run_name: str | None, sql: str, limit: int, output: Path | None, results_dir: Path | None) -> None:
    """Print the rows of an SQL query over all tables of a run."""
    run = find_run(run_name, results_dir or load_settings().results_dir)
    rows = query(run, sql, limit)
    if output is not None:
        _write(rows, output, run)
        return
    if not rows.num_rows:
        console.print("No rows.")
        return
    _print_rows(rows, "")


def print_new(
    since: str | None,
    columns: str | None,
    where: str | None,
    sort: str | None,
    limit: int,
    output: Path | None,
    results_dir: Path | None,
) -> None:
    """Print what is new since a date or a release, or in the last run."""
    found = to_arrow(new_materials(results_dir or load_settings().results_dir, since))
    rows = _select(duckdb.from_arrow(found), columns, where, sort, limit)
    if output is not None:
        _write(rows, output)
        return
    title = "What is new in the last run" if since is None else f"What is new since {since}"
    if not len(found):
        console.print(f"{title}: nothing.")
        return
    _print_rows(rows, f"{title} ({len(found):,} changes)")


def write_dataset(run_name: str | None, address: str, results_dir: Path | None) -> None:
    """Add the tables of a run to a partitioned dataset."""
    run = find_run(run_name, results_dir or load_settings().results_dir)
    rows = add_to_dataset(run, address)
    console.print(f"{rows:,} rows of {run.run_id} written to {address}", soft_wrap=True, highlight=False)


def find_run(run: str | None, results_dir: Path) -> RunFolder:
    """The run of an id or folder; the last finished one if None."""
    if run is None:
        return RunFolder.attach(latest_run(results_dir))
    for path in (Path(run), results_dir / run):
        if path.is_dir():
            return RunFolder.attach(path)
    known = ", ".join(TableName)
    raise RunError(f"There is no run or table '{run}' in {results_dir}; the tables are {known}.")


def select_rows(path: Path, columns: str | None, where: str | None, sort: str | None, limit: int) -> pa.Table:
    """Rows of a Parquet table.

    Parameters
    ----------
    path
        The table.
    columns
        Names separated by commas; all if None.
    where
        SQL condition.
    sort
        Column; a leading ``-`` sorts descending. Nulls come last.
    limit
        Rows at most; 0 for all.

    Raises
    ------
    TableChoiceError
        If DuckDB cannot run the query.
    """
    return _select(duckdb.read_parquet(glob.escape(str(path))), columns, where, sort, limit)


def _select(
    relation: duckdb.DuckDBPyRelation, columns: str | None, where: str | None, sort: str | None, limit: int
) -> pa.Table:
    try:
        if where:
            relation = relation.filter(where)
        if sort:
            direction = "DESC" if sort.startswith("-") else "ASC"
            relation = relation.order(f"{_quoted(sort.lstrip('-'))} {direction} NULLS LAST")
        if columns:
            relation = relation.project(", ".join(_quoted(column.strip()) for column in columns.split(",")))
        return (relation.limit(limit) if limit else relation).to_arrow_table()
    except duckdb.Error as error:
        first_line = str(error).splitlines()[0]
        raise TableChoiceError(f"{first_line} Columns are {', '.join(_columns(relation))}.") from error


def _columns(relation: duckdb.DuckDBPyRelation) -> list[str]:
    return list(relation.columns)


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _table_path(run: RunFolder, name: str) -> Path:
    if name not in set(TableName):
        raise RunError(f"Unknown table '{name}'; the tables are {', '.join(TableName)}.")
    if not run.has_table(name):
        raise RunError(
            f"The run {run.run_id} has no table '{name}' (yet); `mat2spec tables {run.run_id}` lists those it has."
        )
    return run.table_path(name)


def _print_list(run: RunFolder) -> None:
    table = Table("table", "rows", "columns", title=f"Run {run.run_id} ({run.info['status']})")
    for name in TableName:
        if run.has_table(name):
            metadata = pq.read_metadata(run.table_path(name))
            columns = ", ".join(metadata.schema.to_arrow_schema().names)
            table.add_row(name, f"{metadata.num_rows:,}", columns)
    console.print(table)
    console.print(f"In {run.path}", soft_wrap=True)


def _print_rows(rows: pa.Table, title: str) -> None:
    print_frame(to_frame(rows), title)


def _write(rows: pa.Table, output: Path, run: RunFolder | None = None) -> None:
    """Write the rows in the format of the file's suffix: as a table, their identifiers, or their crystals."""
    ending = output.suffix.lower()
    if ending == IDS_ENDING:
        said = f"{write_ids(rows, output):,} identifiers"
    elif ending == CIF_ENDING and run is not None:
        crystals = run.crystals(material_ids(rows, output))
        write_cif(crystals, output)
        said = f"{len(crystals):,} crystals"
    else:
        check_ending(output, (*TABLE_ENDINGS, IDS_ENDING, *((CIF_ENDING,) if run is not None else ())))
        write_rows(rows, output)
        said = f"{rows.num_rows:,} rows"
    console.print(f"{said} written to {output}", soft_wrap=True, highlight=False)
