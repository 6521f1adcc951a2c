"""Write a table to a file: Parquet or CSV, by its ending."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from mat2spec.tables.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

TABLE_ENDINGS = (".parquet", ".csv")


def check_ending(path: Path, endings: tuple[str, ...]) -> None:
    """Refuse a file name whose ending says nothing about the format, before any work is done.

    Raises
    ------
    ValueError
        If the ending is none of `endings`.
    """
    if path.suffix.lower() not in endings:
        raise ValueError(f"Unknown format of '{path}'; the name must end in {' or '.join(endings)}.")


def write_rows(rows: pa.Table, path: Path) -> None:
    """Write rows atomically; in CSV a list is one cell of numbers separated by spaces."""
    check_ending(path, TABLE_ENDINGS)
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".csv":
            _with_text_lists(rows).to_pandas().to_csv(temporary, index=False)
        else:
            pq.write_table(rows, temporary, compression="zstd")


def _with_text_lists(rows: pa.Table) -> pa.Table:
    for index, field in enumerate(rows.schema):
        if pa.types.is_list(field.type):
            texts = [None if x is None else " ".join(f"{v:.6g}" for v in x) for x in rows[field.name].to_pylist()]
            rows = rows.set_column(index, field.name, pa.array(texts, type=pa.string()))
    return rows
