"""Delta tables of the Materials Project's open data: anonymous S3, read file by file with bounded memory.

`AWS_ENDPOINT_URL` (and `AWS_ALLOW_HTTP=true`) selects another S3 server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds

from screening.settings import MaterialsProjectSettings
from screening.sources.materials_project.errors import MaterialsProjectError

if TYPE_CHECKING:
    from deltalake import DeltaTable

SUMMARY = "s3a://materialsproject-build/collections/summary/"
TOTAL_DOS = "s3a://materialsproject-parsed/core/electronic-structure/total-dos/"
PHONON_DOS = "s3a://materialsproject-parsed/phonon/electronic-structure/dos/"
REGION = "us-east-1"
VERSION_COLUMN = "version"
# Rows in memory at a time: spectra of 2,001 points with both spins take 48 kB each.
BATCH_ROWS = 512
MAX_RETRIES = 5


def open_delta(uri: str, settings: MaterialsProjectSettings) -> DeltaTable:
    """Open a Delta table without credentials.

    Raises
    ------
    MaterialsProjectError
        If it is missing or cannot be reached.
    """
    from deltalake import DeltaTable

    options = {
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_REGION": REGION,
        "timeout": f"{settings.mp_timeout_s:g}s",
        "connect_timeout": f"{settings.mp_timeout_s:g}s",
        "max_retries": str(MAX_RETRIES),
        "retry_timeout": f"{settings.mp_patience_s:g}s",
    }
    with reading(uri):
        return DeltaTable(uri, storage_options=options)


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Turn errors of deltalake and Arrow while a table is read into a sentence.

    Raises
    ------
    MaterialsProjectError
        Instead of those errors.
    """
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        yield
    except TableNotFoundError as error:
        raise MaterialsProjectError(
            f"There is no Delta table at {uri}: the Materials Project has moved its open data. Give the new address, "
            "or use the API with a key."
        ) from error
    except (DeltaError, pa.ArrowException, OSError) as error:
        first_line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise MaterialsProjectError(
            f"Reading the open data at {uri} failed ({first_line}). Check the network and run the same command "
            "again; what is finished is kept."
        ) from error


def release_of(table: DeltaTable) -> str:
    """The newest release of a table partitioned by release, else the table's own version."""
    releases = {str(part[VERSION_COLUMN]) for part in table.partitions() if VERSION_COLUMN in part}
    return max(releases, key=natural_order) if releases else f"delta-{table.version()}"


def natural_order(text: str) -> list[tuple[int, str]]:
    """Key that sorts 2026.9.1 before 2026.11.1."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[^0-9A-Za-z]+", text)]


def files_of(table: DeltaTable, release: str | None = None) -> list[Any]:
    """The Parquet files of a table as Arrow fragments, sorted by name; of one release only, if there are several."""
    with reading(table.table_uri):
        dataset = table.to_pyarrow_dataset()
        chosen = None
        if release is not None and VERSION_COLUMN in table.metadata().partition_columns:
            chosen = ds.field(VERSION_COLUMN) == release
        return sorted(dataset.get_fragments(chosen), key=lambda fragment: str(fragment.path))


def batches_of(
    table: DeltaTable, fragment: Any, columns: Sequence[str] | dict[str, Any], chosen: Any = None
) -> Iterator[pa.RecordBatch]:
    """Rows of one file in batches, in the order of the file; missing columns are null.

    Parameters
    ----------
    table, fragment
        The table and one of `files_of`.
    columns
        Names, or expressions by name.
    chosen
        Expression that the rows satisfy; all rows if None.

    Raises
    ------
    MaterialsProjectError
        If the reading fails.
    """
    with reading(table.table_uri):
        schema = table.to_pyarrow_dataset().schema
        wanted = columns if isinstance(columns, dict) else list(columns)
        yield from fragment.to_batches(
            schema=schema, columns=wanted, filter=chosen, batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1
        )


def batches_with(
    table: DeltaTable,
    columns: Sequence[str] | dict[str, Any],
    name: str,
    is_wanted: Callable[[str], bool],
    release: str | None = None,
) -> Iterator[pa.RecordBatch]:
    """Rows whose text in one column is wanted; if there are none in a file, only that column is read.

    Parameters
    ----------
    table, columns
        As `batches_of`.
    name
        The column.
    is_wanted
        Whether a text is wanted.
    release
        Rows of this release only.
    """
    for fragment in files_of(table, release):
        with reading(table.table_uri):
            groups = fragment.split_by_row_group()
        for group in groups:
            texts = {text for batch in batches_of(table, group, [name]) for text in batch[name].to_pylist()}
            wanted = sorted(text for text in texts if text and is_wanted(text))
            if wanted:
                yield from batches_of(table, group, columns, ds.field(name).isin(wanted))
