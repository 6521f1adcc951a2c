"""Gapped metals in benchmark spectra, in the form that the benchmark scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mat2spec.benchmark.detection import GappedMetals
from mat2spec.tables.columns import Column
from screening.classify.gaps import classify_spectra
from screening.settings import GapSettings


def find_gapped_metals(
    spectra: NDArray[np.floating], n_sites: NDArray[np.integer], settings: GapSettings | None = None
) -> GappedMetals:
    """Gapped metals by the rule of the screen, ranked by the screen's confidence.

    Parameters
    ----------
    spectra
        Densities of states on the eDOS grid, shape (n, 128), states/eV per cell.
    n_sites
        Sites per cell, shape (n,).
    settings
        The rule; the defaults if not given.
    """
    classes = classify_spectra(np.asarray(spectra), settings=settings, n_sites=np.asarray(n_sites))
    flags = classes[Column.IS_GAPPED_METAL].fillna(value=False).to_numpy(dtype=np.bool_)
    confidence = classes[Column.GAPPED_METAL_CONFIDENCE].fillna(0.0).to_numpy(dtype=np.float64)
    return GappedMetals(flags, confidence)
