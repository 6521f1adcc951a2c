"""Write a table to a file in the format of its suffix: Parquet, CSV, a list of identifiers, or crystals as CIF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.writing import cif_block
from mat2spec.tables.columns import Column
from mat2spec.tables.files import atomic_path
from mat2spec.tables.parquet import to_frame

if TYPE_CHECKING:
    from pathlib import Path

TABLE_ENDINGS = (".parquet", ".csv")
# For rows about materials: their identifiers, one per line, and their crystals.
IDS_ENDING, CIF_ENDING = ".txt", ".cif"


def check_ending(path: Path, endings: tuple[str, ...]) -> None:
    """Refuse a file name whose suffix is not a known format, before any work is done.

    Raises
    ------
    ValueError
        If the suffix is not one of `endings`.
    """
    if path.suffix.lower() not in endings:
        raise ValueError(f"Unknown format of '{path}'; the name must end in {' or '.join(endings)}.")


def write_rows(rows: pa.Table, path: Path) -> None:
    """Write rows atomically; in CSV a list becomes one cell of numbers separated by spaces."""
    check_ending(path, TABLE_ENDINGS)
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".csv":
            to_frame(_with_text_lists(rows)).to_csv(temporary, index=False)
        else:
            pq.write_table(rows, temporary, compression="zstd")


def write_ids(rows: pa.Table, path: Path) -> int:
    """Write the distinct identifiers of the rows, one per line; return how many."""
    ids = material_ids(rows, path)
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
    return len(ids)


def write_cif(crystals: Crystals, path: Path) -> None:
    """Write crystals to one CIF file, one data block each, named by the identifier."""
    with atomic_path(path) as temporary:
        blocks = [cif_block(crystals, index) for index in range(len(crystals))]
        temporary.write_text("\n".join(blocks), encoding="utf-8")


def material_ids(rows: pa.Table, path: Path) -> list[str]:
    """Distinct identifiers of the rows.

    Raises
    ------
    ValueError
        If the rows have no identifiers.
    """
    if Column.MATERIAL_ID not in rows.column_names:
        raise ValueError(f"{path} needs the column {Column.MATERIAL_ID}; select it, or write to .csv or .parquet.")
    return list(dict.fromkeys(rows[Column.MATERIAL_ID].to_pylist()))


def _with_text_lists(rows: pa.Table) -> pa.Table:
    for index, field in enumerate(rows.schema):
        if pa.types.is_list(field.type):
            texts = [None if x is None else " ".join(f"{v:.6g}" for v in x) for x in rows[field.name].to_pylist()]
            rows = rows.set_column(index, field.name, pa.array(texts, type=pa.string()))
    return rows
