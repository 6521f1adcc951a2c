"""The tables of many runs as one partitioned Parquet dataset, in a folder or in an object store.

    ADDRESS/table=picks/run_id=20261123T020654Z-1a2b3c4d/part-00000.parquet

DuckDB, polars and Arrow read it as one table with the columns `table` and `run_id`.
"""

from __future__ import annotations

import re
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from mat2spec.tables.files import TableError
from mat2spec.tables.parquet import COMPRESSION, reading_parquet
from screening.runs.contents import RunTables
from screening.runs.schemas import TableName

# A part of some megabytes: 131,072 rows.
GROUPS_PER_PART = 16
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]+://")
# Arrow reads these itself, and takes credentials and endpoints from the environment.
_OF_ARROW = ("file://", "s3://", "gs://", "hdfs://")


def open_address(address: str) -> tuple[pafs.FileSystem, str]:
    """File system and path of a folder or an address such as s3://bucket/folder; other schemes are those of fsspec.

    Raises
    ------
    TableError
        If the scheme is unknown, or what it needs is not installed.
    """
    try:
        if not _SCHEME.match(address):
            return pafs.LocalFileSystem(), str(Path(address).absolute())
        if address.startswith(_OF_ARROW):
            filesystem, path = pafs.FileSystem.from_uri(address)
            return filesystem, path
        other, path = fsspec.core.url_to_fs(address)
        return pafs.PyFileSystem(pafs.FSSpecHandler(other)), path
    except (ValueError, ImportError, OSError, pa.ArrowException) as error:
        raise TableError(f"The address {address} cannot be used: {error}") from error


def add_to_dataset(run: RunTables, address: str) -> int:
    """Write all tables of a run into a dataset, a part in memory at a time, in place of what it holds of this run.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    TableError
        If a table is damaged, or the address cannot be used or written.
    """
    filesystem, root = open_address(address)
    rows = 0
    for name in TableName:
        if run.has_table(name):
            folder = f"{root}/table={name}/run_id={run.run_id}"
            try:
                rows += _write_parts(run.table_path(name), filesystem, folder)
            except TableError:
                raise
            except OSError as error:
                raise TableError(f"The table {name} cannot be written to {address}: {error}") from error
    return rows


def _write_parts(table: Path, filesystem: pafs.FileSystem, folder: str) -> int:
    filesystem.create_dir(folder, recursive=True)
    filesystem.delete_dir_contents(folder, missing_dir_ok=True)
    with reading_parquet(table):
        file = pq.ParquetFile(table)
    with file:
        for number, first in enumerate(range(0, file.num_row_groups, GROUPS_PER_PART)):
            with (
                filesystem.open_output_stream(f"{folder}/part-{number:05d}.parquet") as stream,
                pq.ParquetWriter(stream, file.schema_arrow, compression=COMPRESSION) as writer,
            ):
                for group in range(first, min(first + GROUPS_PER_PART, file.num_row_groups)):
                    with reading_parquet(table):
                        rows = file.read_row_group(group)
                    writer.write_table(rows)
        return int(file.metadata.num_rows)
