"""Classes of a table of predictions, read piece by piece: the spectra of a million crystals take a gigabyte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

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
    """Columns that `classify_piece` reads, of those that a table of predictions has."""
    return [str(name) for name in (*KEYS, *EVIDENCE, Column.EDOS, Column.UNCERTAINTY) if name in there]


def classify_piece(
    piece: pa.Table,
    candidates: pd.DataFrame,
    elements: ElementCounts,
    gap: GapSettings,
    settings: ClassifySettings,
) -> pd.DataFrame:
    """Keys and classes of predicted spectra, as `screening.classify.classes.classify` gives them.

    Parameters
    ----------
    piece
        Some rows of the table of predictions.
    candidates
        Their materials, and possibly others: identifiers, sizes, band gaps of the source.
    elements
        Theirs, in the same order.
    gap, settings
        The rule of a gap and the other limits.
    """
    materials, ids = Materials.of_rows(candidates, elements), pd.Index(candidates[Column.MATERIAL_ID])
    band_gaps = candidates[Column.BAND_GAP].to_numpy(dtype=np.float64, na_value=np.nan)
    spectra, uncertainty = (matrix_column(piece, name, EDOS_GRID.size) for name in (Column.EDOS, Column.UNCERTAINTY))
    keys = piece.drop_columns([Column.EDOS, Column.UNCERTAINTY]).to_pandas()
    rows = ids.get_indexer(keys[Column.MATERIAL_ID])
    evidence = MetalEvidence.of_rows(keys, band_gaps[rows])
    classes = classify(spectra, materials.take(rows), gap, settings, uncertainty, evidence=evidence)
    return pd.concat([keys.drop(columns=list(EVIDENCE), errors="ignore"), classes], axis=1)


def ends_of_pieces(materials: NDArray[np.integer], least: int) -> list[int]:
    """Where to cut a table so that all rows of a material are in one piece, of `least` rows where that is possible.

    Parameters
    ----------
    materials
        Number of the material of each row, shape (n,).
    least
        Rows of a piece; it has more where rows of a material are far apart.

    Returns
    -------
    list of int
        One past the last row of each piece; of a table without rows, one piece without any.
    """
    n = len(materials)
    last = np.zeros(int(materials.max(initial=0)) + 1, dtype=np.int64)
    last[materials] = np.arange(n)
    complete = np.flatnonzero(np.maximum.accumulate(last[materials]) == np.arange(n)) + 1
    ends = [0] if n == 0 else []
    while n and (not ends or ends[-1] < n):
        wanted = min((ends[-1] if ends else 0) + least, n)
        ends.append(int(complete[np.searchsorted(complete, wanted)]))
    return ends


def pieces_ending_at(pieces: Iterator[pa.Table], ends: Sequence[int]) -> Iterator[pa.Table]:
    """A table that comes in pieces, at least one, cut elsewhere."""
    held, start = next(pieces), 0
    for end in ends:
        while len(held) < end - start:
            held = pa.concat_tables([held, next(pieces)])
        yield held[: end - start]
        held, start = held[end - start :], end
