"""Write a table to a file in the format of its suffix: Parquet, CSV, a list of identifiers, or crystals as CIF.

A table may come piece by piece: no more than a piece of it is in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.writing import cif_block
from mat2spec.tables.columns import Column
from mat2spec.tables.files import atomic_path
from mat2spec.tables.parquet import COMPRESSION, ROWS_PER_GROUP

if TYPE_CHECKING:
    from pathlib import Path

TABLE_ENDINGS = (".parquet", ".csv")
# For rows about materials: their identifiers, one per line, and their crystals.
IDS_ENDING, CIF_ENDING = ".txt", ".cif"
# Types that keep whole numbers whole and flags flags, whether or not one of a piece is unknown.
_NULLABLE = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


def check_ending(path: Path, endings: tuple[str, ...]) -> None:
    """Refuse a file name whose suffix is not a known format, before any work is done.

    Raises
    ------
    ValueError
        If the suffix is not one of `endings`.
    """
    if path.suffix.lower() not in endings:
        raise ValueError(f"Unknown format of '{path}'; the name must end in {' or '.join(endings)}.")


def write_rows(rows: pa.Table | pa.RecordBatchReader, path: Path) -> int:
    """Write rows atomically and return how many; in CSV a list becomes one cell of numbers separated by spaces."""
    check_ending(path, TABLE_ENDINGS)
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    with atomic_path(path) as temporary:
        return write(rows.schema, _pieces(rows), temporary)


def _pieces(rows: pa.Table | pa.RecordBatchReader) -> Iterator[pa.Table]:
    reader = rows.to_reader(ROWS_PER_GROUP) if isinstance(rows, pa.Table) else rows
    for batch in reader:
        yield pa.Table.from_batches([batch])


def _write_parquet(schema: pa.Schema, pieces: Iterable[pa.Table], path: Path) -> int:
    n_rows = 0
    with pq.ParquetWriter(path, schema, compression=COMPRESSION) as writer:
        for piece in pieces:
            writer.write_table(piece, row_group_size=ROWS_PER_GROUP)
            n_rows += len(piece)
    return n_rows


def _write_csv(schema: pa.Schema, pieces: Iterable[pa.Table], path: Path) -> int:
    n_rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        _as_text(schema.empty_table()).to_csv(file, index=False)
        for piece in pieces:
            _as_text(piece).to_csv(file, index=False, header=False)
            n_rows += len(piece)
    return n_rows


def _as_text(rows: pa.Table) -> pd.DataFrame:
    return _with_text_lists(rows).to_pandas(types_mapper=_NULLABLE.get)


def write_ids(rows: pa.Table | pa.RecordBatchReader, path: Path) -> int:
    """Write the distinct identifiers of the rows, one per line; return how many."""
    ids = material_ids(rows, path)
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
    return len(ids)


def write_cif(pieces: Iterable[Crystals], path: Path) -> int:
    """Write crystals to one CIF file, one data block each, named by the identifier; return how many."""
    n_crystals = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for crystals in pieces:
            for index in range(len(crystals)):
                file.write("\n" * (n_crystals > 0) + cif_block(crystals, index))
                n_crystals += 1
    return n_crystals


def material_ids(rows: pa.Table | pa.RecordBatchReader, path: Path) -> list[str]:
    """Distinct identifiers of the rows.

    Raises
    ------
    ValueError
        If the rows have no identifiers.
    """
    if Column.MATERIAL_ID not in rows.schema.names:
        raise ValueError(f"{path} needs the column {Column.MATERIAL_ID}; select it, or write to .csv or .parquet.")
    names = (name for piece in _pieces(rows) for name in piece[Column.MATERIAL_ID].to_pylist())
    return list(dict.fromkeys(names))


def _with_text_lists(rows: pa.Table) -> pa.Table:
    for index, field in enumerate(rows.schema):
        if pa.types.is_list(field.type):
            texts = [None if x is None else " ".join(f"{v:.6g}" for v in x) for x in rows[field.name].to_pylist()]
            rows = rows.set_column(index, field.name, pa.array(texts, type=pa.string()))
    return rows
