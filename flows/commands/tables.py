"""`mat2spec tables`: print result tables of a run, filtered, sorted and limited by DuckDB."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
from flows.commands.terminal import console, print_frame, print_leading_columns, say_hanging
from flows.settings_layers import load_settings
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import ROWS_PER_GROUP, to_arrow, to_frame
from mat2spec.tables.text import counted
from screening.report.news import new_materials
from screening.report.queries import connected, in_pieces, query, query_in_pieces
from screening.runs.dataset import add_to_dataset
from screening.runs.folder import RunFolder
from screening.runs.record import RunError, latest_run
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    import pyarrow as pa

    from mat2spec.crystals.arrays import Crystals

ROWS_IN_A_TERMINAL = 20
ALL_COLUMNS = "all"
# Tables of more columns than this are not listed in an error.
_FEW_COLUMNS = 15
# What a person looks at first; the other columns follow as far as the terminal is wide.
_FIRST_COLUMNS: dict[str, tuple[Column, ...]] = {
    TableName.PICKS: (
        Column.PICK_RANK,
        Column.MATERIAL_ID,
        Column.FORMULA,
        Column.GAP_WIDTH_EV,
        Column.GAP_TOP_EV,
        Column.DFT_VERDICT,
        Column.CONSENSUS_CONFIDENCE,
        Column.TRUST,
        Column.SPACE_GROUP_SYMBOL,
    ),
    TableName.CLASSIFICATIONS: (
        Column.MATERIAL_ID,
        Column.MODEL,
        Column.GAPPED_METAL_CONFIDENCE,
        Column.METAL_CONFIDENCE,
        Column.ELECTRONIC_CLASS,
        Column.GAP_WIDTH_EV,
        Column.GAP_TOP_EV,
    ),
    TableName.DFT_RESULTS: (
        Column.MATERIAL_ID,
        Column.STATUS,
        Column.IS_GAPPED_METAL,
        Column.GAP_WIDTH_EV,
        Column.GAP_TOP_EV,
        Column.BAND_GAP,
        Column.CPU_SECONDS,
    ),
    TableName.PRECISION_RECALL: (
        Column.MODEL,
        Column.TARGET,
        Column.ESTIMATE,
        Column.N,
        Column.PRECISION,
        Column.RECALL,
        Column.F1,
    ),
}


class TableChoiceError(ValueError):
    """The requested rows cannot be shown; the message says why."""


@dataclass(frozen=True)
class RowChoice:
    """Which part of a table is wanted.

    Parameters
    ----------
    columns
        Names separated by commas; None or `all` for all.
    where
        SQL condition.
    sort
        Column; a leading ``-`` sorts descending. Nulls come last.
    limit
        Rows at most; 0 for all, None for all in a file and a screenful in a terminal.
    """

    columns: str | None = None
    where: str | None = None
    sort: str | None = None
    limit: int | None = None

    def rows(self, output: Path | None) -> int:
        """Rows at most; 0 for all."""
        if self.limit is not None:
            return self.limit
        return ROWS_IN_A_TERMINAL if output is None else 0


class Rows(NamedTuple):
    """Rows of a table, and whether there are more."""

    table: pa.Table
    are_cut: bool = False

    def say_whether_cut(self) -> None:
        """Say so if rows are left out."""
        if self.are_cut:
            console.print(f"Only the first {counted(self.table.num_rows, 'row')}; -n 0 shows all.", highlight=False)


def print_tables(
    run_or_name: str | None,
    name: str | None = None,
    choice: RowChoice | None = None,
    output: Path | None = None,
    results_dir: Path | None = None,
    *,
    describe: bool = False,
) -> None:
    """Print the list of a run's tables, or the rows of one, or what its columns mean."""
    choice = choice or RowChoice()
    if run_or_name in set(TableName) and name is None:
        run_or_name, name = None, run_or_name
    run = find_run(run_or_name, results_dir or load_settings().results_dir)
    if name is None:
        _print_list(run)
        return
    path = _table_path(run, name)
    if describe:
        _describe(pq.read_schema(path).names, name)
        return
    if output is not None:
        with selected(path, choice, choice.rows(output)) as chosen:
            _write(chosen, output, run)
        return
    rows = select_rows(path, choice, choice.rows(output))
    title = f"{name} of {run.run_id}"
    if choice.columns is None:
        print_leading_columns(to_frame(rows.table), title, _FIRST_COLUMNS.get(name, ()))
        rows.say_whether_cut()
    else:
        _print_rows(rows, title)


def print_query(
    run_name: str | None, sql: str, limit: int | None, output: Path | None, results_dir: Path | None
) -> None:
    """Print the rows of an SQL query over all tables of a run."""
    run = find_run(run_name, results_dir or load_settings().results_dir)
    most = RowChoice(limit=limit).rows(output)
    if output is not None:
        with query_in_pieces(run, sql, most) as found:
            _write(found, output, run)
        return
    rows = _cut(query(run, sql, _one_more(most)), most)
    if not rows.table.num_rows:
        console.print("No rows.")
        return
    _print_rows(rows, "")


def print_new(since: str | None, choice: RowChoice, output: Path | None, results_dir: Path | None) -> None:
    """Print what is new since a date or a release, or in the last run."""
    found = to_arrow(new_materials(results_dir or load_settings().results_dir, since))
    most = choice.rows(output)
    if output is not None:
        _write(_chosen(duckdb.from_arrow(found), choice, most), output)
        return
    rows = _cut(_chosen(duckdb.from_arrow(found), choice, _one_more(most)).read_all(), most)
    title = "What is new in the last run" if since is None else f"What is new since {since}"
    if not len(found):
        console.print(f"{title}: nothing.")
        return
    _print_rows(rows, f"{title} ({counted(len(found), 'change')})")


def write_dataset(run_name: str | None, address: str, results_dir: Path | None) -> None:
    """Add the tables of a run to a partitioned dataset."""
    run = find_run(run_name, results_dir or load_settings().results_dir)
    rows = add_to_dataset(run, address)
    console.print(f"{counted(rows, 'row')} of {run.run_id} written to {address}", soft_wrap=True, highlight=False)


def find_run(run: str | None, results_dir: Path) -> RunFolder:
    """The run of an id or folder; the last finished one if None."""
    if run is None:
        return RunFolder.attach(latest_run(results_dir))
    for path in (Path(run), results_dir / run):
        if path.is_dir():
            return RunFolder.attach(path)
    known = ", ".join(TableName)
    raise RunError(f"There is no run or table '{run}' in {results_dir}; the tables are {known}.")


def select_rows(path: Path, choice: RowChoice, limit: int = 0) -> Rows:
    """Rows of a Parquet table, at most `limit` unless that is 0.

    Raises
    ------
    TableChoiceError
        If DuckDB cannot run the query.
    """
    with selected(path, choice, _one_more(limit)) as rows:
        return _cut(rows.read_all(), limit)


@contextmanager
def selected(path: Path, choice: RowChoice, limit: int = 0) -> Iterator[pa.RecordBatchReader]:
    """The same rows, some thousand of them in memory at a time; raises as `select_rows`, also while they are read."""
    with connected() as connection:
        yield _chosen(connection.read_parquet(glob.escape(str(path))), choice, limit)


def _chosen(relation: duckdb.DuckDBPyRelation, choice: RowChoice, limit: int) -> pa.RecordBatchReader:
    columns = [str(name) for name in relation.columns]
    try:
        if choice.where:
            relation = relation.filter(choice.where)
        if choice.sort:
            direction = "DESC" if choice.sort.startswith("-") else "ASC"
            relation = relation.order(f"{_quoted(choice.sort.lstrip('-'))} {direction} NULLS LAST")
        if choice.columns and choice.columns != ALL_COLUMNS:
            relation = relation.project(", ".join(_quoted(column.strip()) for column in choice.columns.split(",")))
    except duckdb.Error as error:
        raise _explained(str(error).splitlines()[0], columns) from error
    return in_pieces(relation.limit(limit) if limit else relation, lambda message: _explained(message, columns))


def _explained(message: str, columns: list[str]) -> TableChoiceError:
    return TableChoiceError(_explain(message, columns))


def _explain(message: str, columns: list[str]) -> str:
    """DuckDB's message with the columns that may have been meant."""
    _, _, unknown = message.partition('Referenced column "')
    name = unknown.partition('"')[0]
    near = get_close_matches(name, columns, n=4, cutoff=0.5) or [each for each in columns if name and name in each]
    if unknown and near:
        return f"There is no column '{name}'. Did you mean {' or '.join(near)}?"
    start = f"There is no column '{name}'." if unknown else message
    if len(columns) <= _FEW_COLUMNS:
        return f"{start} Columns are {', '.join(columns)}."
    return f"{start} The table has {len(columns)} columns; --describe lists them."


def _one_more(limit: int) -> int:
    """How many rows to ask for, to know whether there are more than `limit`."""
    return limit + 1 if limit else 0


def _cut(table: pa.Table, limit: int) -> Rows:
    return Rows(table[:limit], are_cut=True) if limit and table.num_rows > limit else Rows(table)


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
    table = Table("table", title=f"Run {run.run_id} ({run.info['status']})", title_justify="left")
    for heading in ("rows", "columns"):
        table.add_column(heading, justify="right")
    table.add_column("what it holds")
    for name in TableName:
        if run.has_table(name):
            metadata = pq.read_metadata(run.table_path(name))
            n_columns = len(metadata.schema.to_arrow_schema().names)
            table.add_row(name, f"{metadata.num_rows:,}", str(n_columns), name.description)
    console.print(table)
    console.print(f"In {run.path}", soft_wrap=True)
    console.print(
        "`mat2spec tables picks` shows rows of a table, `mat2spec tables picks --describe` what its columns mean."
    )


def _describe(columns: list[str], name: str) -> None:
    """Say what each column of a table holds."""
    console.print(f"{name}: {TableName(name).description}", highlight=False)
    known = {str(column): column for column in Column}
    for column in columns:
        member = known.get(column)
        unit = f" in {member.unit}" if member is not None and member.unit else ""
        console.print(f"{column}{unit}", highlight=False)
        say_hanging("    ", "A column of your own." if member is None else member.description)


def _print_rows(rows: Rows, title: str) -> None:
    print_frame(to_frame(rows.table), title)
    rows.say_whether_cut()


def _write(rows: pa.RecordBatchReader, output: Path, run: RunFolder | None = None) -> None:
    """Write the rows in the format of the file's suffix: as a table, their identifiers, or their crystals."""
    ending = output.suffix.lower()
    if ending == IDS_ENDING:
        said = counted(write_ids(rows, output), "identifier")
    elif ending == CIF_ENDING and run is not None:
        said = counted(write_cif(_crystals(run, material_ids(rows, output)), output), "crystal")
    else:
        check_ending(output, (*TABLE_ENDINGS, IDS_ENDING, *((CIF_ENDING,) if run is not None else ())))
        said = counted(write_rows(rows, output), "row")
    console.print(f"{said} written to {output}", soft_wrap=True, highlight=False)


def _crystals(run: RunFolder, ids: Sequence[str]) -> Iterable[Crystals]:
    """Crystals of a run, some thousand at a time."""
    return (run.crystals(ids[start : start + ROWS_PER_GROUP]) for start in range(0, len(ids), ROWS_PER_GROUP))
