"""Materials that already have an electronic DOS: those in a local store of Parquet tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc

from mat2spec.tables.columns import Column
from mat2spec.tables.files import TableError, explain_os_error
from mat2spec.tables.parquet import read_table, require_columns
from mat2spec.tables.status import Status


def known_edos_ids(path: Path | None) -> frozenset[str]:
    """Identifiers of the materials whose eDOS is in the store.

    Parameters
    ----------
    path
        A Parquet table with the column `material_id`, a folder of such tables, or None for no
        store. If there is a `status` column, only rows with "ok" count, not failed calculations.

    Returns
    -------
    frozenset of str
        The identifiers; empty without a store.

    Raises
    ------
    TableError
        If the path does not exist, holds no Parquet table, or a table is damaged or has no
        `material_id`.
    """
    if path is None:
        return frozenset()
    known: set[str] = set()
    for file in store_files(path):
        known.update(_ids_of(file))
    return frozenset(known)


def store_files(path: Path) -> list[Path]:
    """List the Parquet tables of a store, sorted.

    Raises
    ------
    TableError
        If the path does not exist, cannot be read, or is a folder without a Parquet table.
    """
    try:
        is_folder, files = path.is_dir(), sorted(path.glob("*.parquet"))
    except OSError as error:
        raise explain_os_error(error, path, "read") from error
    if is_folder:
        if not files:
            raise TableError(
                f"The eDOS store {path} contains no Parquet table. Check the path or leave edos_store empty."
            )
        return files
    if not path.exists():
        raise TableError(f"There is no eDOS store at {path}. Check the path or leave edos_store empty.")
    return [path]


def _ids_of(file: Path) -> list[str]:
    present = require_columns(file, [Column.MATERIAL_ID])
    columns = [column for column in (Column.MATERIAL_ID, Column.STATUS) if column in present]
    table = read_table(file, columns)
    if Column.STATUS in columns:
        table = table.filter(pc.equal(table[Column.STATUS], Status.OK))
    return [str(material_id) for material_id in table[Column.MATERIAL_ID].to_pylist() if material_id is not None]
