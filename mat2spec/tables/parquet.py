"""Parquet tables that are either complete or not there, and spectra as columns of them.

A table is written to a temporary file beside its place, forced to the disk and then renamed: a
full disk, a missing permission, Ctrl-C or a power cut leaves the old table or none, never half a
new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mat2spec.tables.files import (
    TableError,
    atomic_file,
    explain_os_error,
    refuse_special,
)

COMPRESSION = "zstd"
# Who wants a few rows of a large table reads the groups that hold them.
ROWS_PER_GROUP = 8192
PANDAS_KEY = "pandas"


def to_arrow(table: pd.DataFrame | pa.Table) -> pa.Table:
    """An Arrow table without index columns; not-a-number becomes null."""
    if isinstance(table, pa.Table):
        return table
    return pa.Table.from_pandas(table, preserve_index=False)


def write_table(path: Path, table: pd.DataFrame | pa.Table, metadata: Mapping[str, str] | None = None) -> None:
    """Write a Parquet table atomically.

    Parameters
    ----------
    path
        Path of the table; its folder must exist.
    table
        The rows.
    metadata
        Text stored in the file beside the rows: grids, versions, hashes.

    Raises
    ------
    TableError
        If the disk is full, permission is missing, or writing fails otherwise.
    """
    arrow = to_arrow(table).replace_schema_metadata(dict(metadata or {}))
    with atomic_file(path) as file:
        pq.write_table(arrow, file, row_group_size=ROWS_PER_GROUP, **_encoding(arrow.schema))


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    """How to store the columns: words by dictionary, spectra by splitting the bytes of their numbers.

    For spectra this is twice as fast as Arrow's default and a sixth smaller.
    """
    words = [field.name for field in schema if pa.types.is_string(field.type)]
    spectra = [f"{field.name}.list.element" for field in schema if field.type == pa.list_(pa.float32())]
    return {"compression": COMPRESSION, "use_dictionary": words, "use_byte_stream_split": spectra}


def pandas_metadata(schema: pa.Schema) -> dict[str, str]:
    """What makes `pandas.read_parquet` read flags and counts that may be null as such, so that they work as masks.

    Without it one null turns a column of flags into one of objects.
    """
    frame = to_frame(schema.empty_table().replace_schema_metadata(None))
    described = pa.Schema.from_pandas(frame, preserve_index=False).metadata
    return {PANDAS_KEY: described[PANDAS_KEY.encode()].decode()}


def concatenate_tables(path: Path, parts: Iterable[pa.Table], metadata: Mapping[str, str] | None = None) -> int:
    """Write tables of one schema one after another into one file, holding one of them in memory at a time.

    Returns
    -------
    int
        Number of rows written.

    Raises
    ------
    TableError
        If a part does not fit the first, or the table cannot be written.
    """
    tables = iter(parts)
    first = next(tables, None)
    if first is None:
        raise TableError(f"There are no parts to join into {path}; the stage that writes them has not run.")
    schema = first.schema.with_metadata(dict(metadata or {}))
    rows = 0
    with atomic_file(path) as file, pq.ParquetWriter(file, schema, **_encoding(schema)) as writer:
        for number, table in enumerate(chain([first], tables)):
            try:
                writer.write_table(table.cast(schema), row_group_size=ROWS_PER_GROUP)
            except (pa.ArrowInvalid, ValueError) as error:
                raise TableError(
                    f"Part {number} of {path} has other columns than the first: {error}. Remove that part and rerun."
                ) from error
            rows += len(table)
    return rows


def read_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read a Parquet table, or some of its columns, piece by piece, in order, at least one; raises as `read_table`."""
    if columns is not None:
        require_columns(path, columns)
    with reading_parquet(path), pq.ParquetFile(path) as file:
        names = file.schema_arrow.names if columns is None else list(columns)
        if file.metadata.num_rows == 0:
            yield file.schema_arrow.empty_table().select(names)
        for batch in file.iter_batches(ROWS_PER_GROUP, columns=names):
            yield pa.Table.from_batches([batch])


def count_rows(path: Path) -> int:
    """Rows of a Parquet table, from its footer; raises as `read_schema`."""
    with reading_parquet(path), pq.ParquetFile(path) as file:
        return int(file.metadata.num_rows)


def read_rows(path: Path, columns: Sequence[str], rows: NDArray[np.integer]) -> pa.Table:
    """Read some rows of a Parquet table, in the given order; groups that hold none of them stay unread.

    Raises
    ------
    TableError
        As `read_table`.
    """
    require_columns(path, columns)
    wanted, back = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
    with reading_parquet(path), pq.ParquetFile(path) as file:
        ends = np.cumsum([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)])
        pieces = [without_views(file.schema_arrow.empty_table().select(list(columns)))]
        for group, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            inside = wanted[slice(*np.searchsorted(wanted, [start, end]))] - start
            if len(inside):
                rows_of_group = without_views(file.read_row_group(group, columns=list(columns)))
                _check_length(rows_of_group, end - start)
                pieces.append(rows_of_group.take(pa.array(inside)))
    return pa.concat_tables(pieces).combine_chunks().take(pa.array(back.ravel()))


def without_views(table: pa.Table) -> pa.Table:
    """The same table with views of texts and lists, for which Arrow has few functions yet, as plain ones."""
    plain = pa.schema([field.with_type(_without_views(field.type)) for field in table.schema])
    return table if plain == table.schema.remove_metadata() else table.cast(plain)


def _without_views(kind: pa.DataType) -> pa.DataType:
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(_without_views(kind.value_type))
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _without_views(kind.value_type) != kind.value_type:
        return pa.large_list(_without_views(kind.value_type))
    return plain.get(kind, kind)


def read_frame(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table as a DataFrame; flags that may be null are of the nullable type.

    Raises
    ------
    TableError
        As `read_table`.
    """
    return to_frame(read_table(path, columns))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Turn an Arrow table into a DataFrame; flags and counts become nullable types, so null stays null."""
    nullable = {pa.bool_(): pd.BooleanDtype(), pa.int64(): pd.Int64Dtype()}
    return table.to_pandas(types_mapper=nullable.get)


def is_true(flags: pd.Series) -> NDArray[np.bool_]:
    """Flags as booleans; unknown is false."""
    return flags.astype("boolean").fillna(value=False).to_numpy(dtype=np.bool_)


def read_schema(path: Path) -> pa.Schema:
    """Columns and types of a Parquet table.

    Raises
    ------
    TableError
        If the file is missing, damaged or not readable.
    """
    with reading_parquet(path):
        return pq.read_schema(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Read the text stored in a Parquet file beside its rows.

    Raises
    ------
    TableError
        If the file is missing, damaged or not readable.
    """
    metadata = read_schema(path).metadata or {}
    return {
        key.decode(): value.decode()
        for key, value in metadata.items()
        if not key.startswith(b"ARROW:") and key != PANDAS_KEY.encode()
    }


def list_column(matrix: NDArray[np.floating], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """Make a column of equally long lists of a matrix, without a Python object per row.

    Parameters
    ----------
    matrix
        Shape (n, length).
    valid
        Rows that are not null, shape (n,); by default those whose numbers are all finite.

    Returns
    -------
    pyarrow.Array
        Type list<float32>, length n.
    """
    values = np.asarray(matrix, dtype=np.float32)
    keep = np.isfinite(values).all(axis=1) if valid is None else np.asarray(valid, dtype=np.bool_)
    offsets = np.concatenate([[0], np.cumsum(np.where(keep, values.shape[1], 0))]).astype(np.int32)
    flat = pa.array(np.ascontiguousarray(values[keep]).ravel(), type=pa.float32())
    return pa.ListArray.from_arrays(pa.array(offsets), flat, mask=pa.array(~keep))


def matrix_column(table: pa.Table | pd.DataFrame, name: str, length: int) -> NDArray[np.float32]:
    """Turn a column of lists back into a matrix; a null list is a row of NaN.

    Parameters
    ----------
    table
        The table.
    name
        The column.
    length
        Numbers in each list.

    Returns
    -------
    NDArray
        Shape (n, length).

    Raises
    ------
    TableError
        If a list has another length.
    """
    column = table[name] if isinstance(table, pa.Table) else pa.array(table[name], type=pa.list_(pa.float32()))
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False).astype(np.float64)
    known = np.isfinite(lengths)
    if (lengths[known] != length).any():
        wrong = int(lengths[known][lengths[known] != length][0])
        raise TableError(f"The column {name} holds a list of {wrong} numbers where {length} are needed.")
    matrix = np.full((len(lengths), length), np.nan, dtype=np.float32)
    matrix[known] = np.asarray(pc.list_flatten(column)).reshape(-1, length)
    return matrix


@contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """Turn errors of Arrow and the operating system while reading a Parquet file into sentences.

    Raises
    ------
    TableError
        If the file is missing, damaged or not readable.
    """
    try:
        _require_file(path)
        yield
    except TableError:
        raise
    except MemoryError as error:
        raise TableError(
            f"There is not enough memory to read {path}. Free some, or read it on a larger machine."
        ) from error
    except OSError as error:
        if error.errno is None:
            raise TableError(_corrupt(path, error)) from error
        raise explain_os_error(error, path, "read") from error
    except pa.ArrowNotImplementedError as error:
        raise TableError(
            f"{path} holds a type that this version of pyarrow cannot read: {_first_line(error)}. Write the column in a "
            "plainer type."
        ) from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise TableError(_corrupt(path, error)) from error


def _require_file(path: Path) -> None:
    if not path.exists():
        raise TableError(f"There is no table at {path}. Check the path, or run what writes it.")
    if path.is_dir():
        raise TableError(f"{path} is a folder, not a Parquet file. Check the path.")


def _check_length(table: pa.Table, n_rows: int) -> None:
    """Refuse a column that a damaged file has cut: read alone, Arrow gives what is left of it."""
    if table.num_rows != n_rows:
        raise pa.ArrowInvalid(f"{n_rows} rows were written, {table.num_rows} are there")


def _corrupt(path: Path, error: Exception) -> str:
    return (
        f"{path} is not a readable Parquet file: it is damaged or of another kind ({_first_line(error)}). Replace or remove "
        "it."
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def require_columns(path: Path, columns: Sequence[str]) -> list[str]:
    """Refuse a Parquet file that lacks columns, and return the names of those it has.

    Raises
    ------
    TableError
        If the file is missing or damaged, or lacks a column.
    """
    with reading_parquet(path):
        present = list(pq.read_schema(path).names)
    twice = sorted({str(name) for name in columns} & {name for name in present if present.count(name) > 1})
    if twice:
        raise TableError(f"{path} has two columns called {twice[0]}; leave the one that is meant.")
    missing = [str(name) for name in columns if name not in present]
    if missing:
        raise TableError(
            f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"it has {', '.join(present)}."
        )
    return present


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet table, or some of its columns.

    Raises
    ------
    TableError
        If the file is missing, damaged, not readable, or lacks a column asked for.
    """
    path = Path(path)
    refuse_special(path)
    with reading_parquet(path):
        require_columns(path, pq.read_schema(path).names if columns is None else columns)
        table = pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None)
        _check_length(table, pq.read_metadata(path).num_rows)
        return table
