"""How well gapped metals are found in predicted spectra whose true spectra are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mat2spec.tables.columns import Column
from screening.classify.gaps import classify_spectra
from screening.evaluate.confusion import count
from screening.settings import GapSettings


def score_gapped_metals(
    predicted: NDArray[np.floating],
    true: NDArray[np.floating],
    n_sites: NDArray[np.integer],
    settings: GapSettings | None = None,
) -> dict[str, float | None]:
    """Precision, recall and F1 of gapped metals, both sides classified by the same rule.

    Parameters
    ----------
    predicted, true
        Densities of states on the eDOS grid, shape (n, 128), states/eV per cell.
    n_sites
        Sites per cell, shape (n,).
    settings
        The rule; the defaults if not given.

    Returns
    -------
    dict
        ``gap_precision``, ``gap_recall``, ``gap_f1`` (None = not defined) and ``n_gapped_metals`` among the true ones.
    """
    flags = []
    for spectra in (predicted, true):
        classes = classify_spectra(np.asarray(spectra), settings=settings, n_sites=np.asarray(n_sites))
        flags.append(classes[Column.IS_GAPPED_METAL].fillna(False).to_numpy(dtype=np.bool_))
    table = count(*flags)
    return {
        "gap_precision": table.precision,
        "gap_recall": table.recall,
        "gap_f1": table.f1,
        "n_gapped_metals": table.tp + table.fn,
    }
