"""Classes of a table of predictions, read piece by piece: the spectra of a million crystals take a gigabyte."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from mat2spec.crystals.composition import ElementCounts
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import matrix_column
from screening.classify.classes import classify
from screening.classify.materials import Materials
from screening.classify.metals import MetalEvidence
from screening.settings import ClassifySettings, GapSettings

# Keys of the rows, and what is known of them besides their spectra; older runs lack some.
KEYS = (Column.MATERIAL_ID, Column.MODEL, Column.TRUST)
EVIDENCE = (Column.PRIOR_METAL_PROBABILITY, Column.PREDICTED_BY)


def columns_to_classify(there: Sequence[str]) -> list[str]:
    """Columns that `classify_pieces` reads, of those that a table of predictions has."""
    return [str(name) for name in (*KEYS, *EVIDENCE, Column.EDOS, Column.UNCERTAINTY) if name in there]


def classify_pieces(
    pieces: Iterable[pa.Table],
    candidates: pd.DataFrame,
    elements: ElementCounts,
    gap: GapSettings,
    settings: ClassifySettings,
) -> pd.DataFrame:
    """Keys and classes of predicted spectra, as `screening.classify.classes.classify` gives them.

    Parameters
    ----------
    pieces
        The table of predictions, of which one piece at a time is in memory; at least one.
    candidates
        All candidates: identifiers, sizes, band gaps of the source.
    elements
        Theirs, in the same order.
    gap, settings
        The rule of a gap and the other limits.
    """
    materials, ids = Materials.of_rows(candidates, elements), pd.Index(candidates[Column.MATERIAL_ID])
    band_gaps = candidates[Column.BAND_GAP].to_numpy(dtype=np.float64, na_value=np.nan)
    classified = []
    for piece in pieces:
        spectra, uncertainty = (
            matrix_column(piece, name, EDOS_GRID.size) for name in (Column.EDOS, Column.UNCERTAINTY)
        )
        keys = piece.drop_columns([Column.EDOS, Column.UNCERTAINTY]).to_pandas()
        rows = ids.get_indexer(keys[Column.MATERIAL_ID])
        evidence = MetalEvidence.of_rows(keys, band_gaps[rows])
        classes = classify(spectra, materials.take(rows), gap, settings, uncertainty, evidence=evidence)
        classified.append(pd.concat([keys.drop(columns=list(EVIDENCE), errors="ignore"), classes], axis=1))
    return pd.concat(classified, ignore_index=True)
