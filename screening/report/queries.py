"""SQL over all tables of a run with DuckDB: each table under its name, and all spectra bin by bin."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from mat2spec.spectra.grids import GRID_METADATA_KEY, SpectralGrid
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import ROWS_PER_GROUP
from screening.runs.contents import RunTables
from screening.runs.schemas import TableName

SPECTRA = "spectra"
ENERGIES = "energies"
ENERGY_EV = "energy_ev"
# The column `model` names what computed a spectrum, as for a predicted one.
DFT = "DFT"
# Of a larger sort or join DuckDB keeps the rest in temporary files.
MEMORY_LIMIT = "1GB"


class QueryError(ValueError):
    """The SQL cannot be run; the message says why."""


def query(run: RunTables, sql: str, limit: int = 0) -> pa.Table:
    """Rows of an SQL query over the tables of a run.

    Parameters
    ----------
    run
        The run.
    sql
        One query in DuckDB's SQL. Tables have the names of `TableName`. `spectra` holds the predicted and the DFT
        spectra bin by bin: `material_id`, `model` ('DFT' for computed ones), `energy_ev`, `edos` in states/eV per cell,
        `uncertainty`; `energies` the centres of the bins.
    limit
        Rows at most; 0 for all.

    Raises
    ------
    QueryError
        If DuckDB cannot run it.
    """
    with query_in_pieces(run, sql, limit) as rows:
        return rows.read_all()


@contextmanager
def query_in_pieces(run: RunTables, sql: str, limit: int = 0) -> Iterator[pa.RecordBatchReader]:
    """The same rows, some thousand of them in memory at a time; raises as `query`, also while they are read."""

    def explain(message: str) -> QueryError:
        names = [str(name) for name in TableName if run.has_table(name)]
        return QueryError(f"{message} Tables of this run: {', '.join([*names, SPECTRA, ENERGIES])}.")

    with connected() as connection:
        _add_tables(connection, run)
        try:
            relation = connection.sql(sql)
        except duckdb.Error as error:
            raise explain(str(error).splitlines()[0]) from error
        if relation is None:
            raise QueryError("This SQL statement returns no rows; write a query, such as: select * from picks limit 10")
        yield in_pieces(relation.limit(limit) if limit else relation, explain)


@contextmanager
def connected() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB without a database, in bounded memory."""
    with (
        TemporaryDirectory(prefix="mat2spec-", ignore_cleanup_errors=True) as folder,
        duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": folder}) as connection,
    ):
        yield connection


def in_pieces(relation: duckdb.DuckDBPyRelation, explain: Callable[[str], Exception]) -> pa.RecordBatchReader:
    """Rows of DuckDB as they are found; what it complains of, also on the way, is raised as `explain` puts it."""
    try:
        rows = relation.to_arrow_reader(ROWS_PER_GROUP)
    except duckdb.Error as error:
        raise explain(str(error).splitlines()[0]) from error
    return pa.RecordBatchReader.from_batches(rows.schema, _explained(rows, explain))


def _explained(rows: pa.RecordBatchReader, explain: Callable[[str], Exception]) -> Iterator[pa.RecordBatch]:
    try:
        yield from rows
    except OSError as error:  # Arrow's, with the words of DuckDB
        raise explain(str(error).splitlines()[0]) from error


def _add_tables(connection: duckdb.DuckDBPyConnection, run: RunTables) -> None:
    for name in TableName:
        if run.has_table(name):
            connection.read_parquet(glob.escape(str(run.table_path(name)))).create_view(str(name))
    centers = SpectralGrid.from_json(run.info[GRID_METADATA_KEY]).centers
    bins = pa.table({"bin": range(1, len(centers) + 1), ENERGY_EV: centers})
    connection.register(ENERGIES, bins)
    parts = []
    if run.has_table(TableName.PREDICTIONS):
        parts.append(_spectra_of(TableName.PREDICTIONS, str(Column.MODEL), f"{Column.UNCERTAINTY}[bin]"))
    if run.has_table(TableName.DFT_RESULTS) and Column.EDOS in run.column_names(TableName.DFT_RESULTS):
        parts.append(_spectra_of(TableName.DFT_RESULTS, f"'{DFT}'", "null"))
    if parts:
        connection.execute(f"create view {SPECTRA} as {' union all '.join(parts)}")


def _spectra_of(table: TableName, model: str, uncertainty: str) -> str:
    """One row per bin of every spectrum of a table."""
    columns = f"{Column.MATERIAL_ID}, {model} as {Column.MODEL}, {ENERGY_EV}, {Column.EDOS}[bin] as {Column.EDOS}"
    rows = f"{table}, {ENERGIES} where {Column.EDOS} is not null"
    return f"select {columns}, {uncertainty}::double as {Column.UNCERTAINTY} from {rows}"  # noqa: S608  names of ours
