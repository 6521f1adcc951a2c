"""The table of projections on elements and shells, and back to what the page draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import list_column, to_frame
from screening.runs.schemas import TableName, empty_table

if TYPE_CHECKING:
    from mat2spec.tight_binding.projections import Projections


def projections_table(projections: Projections, model: str, weights_hash: str) -> pa.Table:
    """One row per material, element and shell."""
    rows = [(name, *shell.split(), values) for name, shells in projections.items() for shell, values in shells.items()]
    if not rows:
        return empty_table(TableName.PROJECTIONS)
    names, elements, shells, spectra = zip(*rows, strict=True)
    return pa.table(
        {
            Column.MATERIAL_ID: pa.array(names, type=pa.string()),
            Column.MODEL: pa.array([model] * len(rows), type=pa.string()),
            Column.ELEMENT: pa.array(elements, type=pa.string()),
            Column.SHELL: pa.array(shells, type=pa.string()),
            Column.EDOS: list_column(np.stack(spectra)),
            Column.WEIGHTS_HASH: pa.array([weights_hash] * len(rows), type=pa.string()),
        }
    )


def projections_of_table(table: pa.Table | pd.DataFrame) -> Projections:
    """What `projections_table` was made from."""
    found: Projections = {}
    rows = table if isinstance(table, pd.DataFrame) else to_frame(table)
    for row in rows.to_dict("records"):
        shells = found.setdefault(row[Column.MATERIAL_ID], {})
        shells[f"{row[Column.ELEMENT]} {row[Column.SHELL]}"] = np.asarray(row[Column.EDOS], dtype=np.float64)
    return found
