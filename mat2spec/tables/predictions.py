"""Predictions as rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import list_column

if TYPE_CHECKING:
    from mat2spec.prediction import Prediction


def predictions_table(prediction: Prediction) -> pa.Table:
    """Rows of the table of predictions, one per material; the spectra stand in the column named after their grid."""
    ok = np.array([status == "ok" for status in prediction.status], dtype=np.bool_)
    n_materials = len(prediction.status)
    return pa.table(
        {
            Column.MATERIAL_ID: pa.array(prediction.material_ids, type=pa.string()),
            Column.MODEL: pa.array([prediction.model] * n_materials, type=pa.string()),
            Column.STATUS: pa.array(prediction.status, type=pa.string()),
            Column.REASON: pa.array(prediction.reason, type=pa.string()),
            Column(prediction.grid.name): list_column(prediction.spectra, ok),
            Column.SCALE_STATES: pa.array(prediction.scale, mask=~ok, type=pa.float32()),
            Column.UNCERTAINTY: list_column(prediction.uncertainty, ok),
            Column.RELATIVE_ERROR: pa.array(prediction.relative_error, mask=~ok, type=pa.float32()),
            Column.DOMAIN_DISTANCE: pa.array(prediction.domain_distance, mask=~ok, type=pa.float32()),
            Column.WEIGHTS_HASH: pa.array([prediction.weights_hash] * n_materials, type=pa.string()),
        }
    )
