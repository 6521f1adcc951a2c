"""Properties that follow from an electronic density of states alone, for many spectra at once.

Energies are relative to the grid's zero: E_F of a metal, the valence band maximum (VBM) of a
gapped material.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid
from mat2spec.tables.columns import Column

# (pi^2 / 3) k_B^2 N_A in mJ eV / (mol K^2): gamma of a density of one state/eV per cell (CODATA 2018).
SOMMERFELD_MJ_EV_PER_MOL_K2 = math.pi**2 / 3 * 8.617333262e-5**2 * 96485.33212 * 1e3


def count_bins(length_ev: float, grid: SpectralGrid) -> int:
    """Count the bins that span at least `length_ev`: 16 bins of 8/127 eV for 1.0 eV."""
    return max(1, math.ceil(length_ev / grid.width - 1e-9))


def first_bin_above_zero(grid: SpectralGrid) -> int:
    """Index of the first bin whose centre lies above the zero of energy."""
    return int(np.searchsorted(grid.centers, 0.0, side="right"))


def dos_at_efermi(spectra: NDArray[np.floating], grid: SpectralGrid = EDOS_GRID) -> NDArray[np.float64]:
    """DOS at E_F: mean of the two bins that meet at the zero of energy.

    Parameters
    ----------
    spectra
        Shape (n, grid.size), states/eV per cell.
    grid
        The grid of the spectra.

    Returns
    -------
    NDArray
        Shape (n,), states/eV per cell.
    """
    above = first_bin_above_zero(grid)
    return np.asarray(spectra[:, above - 1 : above + 1], dtype=np.float64).mean(axis=1)


def dos_above_efermi(
    spectra: NDArray[np.floating], grid: SpectralGrid, window_ev: float, stretch_ev: float
) -> NDArray[np.float64]:
    """Lowest mean DOS of any stretch in a window that starts at the zero of energy.

    A metal has states throughout the window. A gapped material, whose zero is its VBM, has an
    empty stretch there even if broadening or interpolation spills some valence states past the
    VBM, which the single value at E_F cannot tell from a metal.

    Parameters
    ----------
    spectra
        Shape (n, grid.size), states/eV per cell.
    grid
        The grid of the spectra.
    window_ev
        Length of the window above the zero, in eV.
    stretch_ev
        Length of the stretch that is averaged, in eV.

    Returns
    -------
    NDArray
        Shape (n,), states/eV per cell.
    """
    start = first_bin_above_zero(grid)
    window = np.asarray(spectra[:, start : start + count_bins(window_ev, grid)], dtype=np.float64)
    stretch = min(count_bins(stretch_ev, grid), window.shape[1])
    return sliding_window_view(window, stretch, axis=1).mean(axis=-1).min(axis=1)


def derive_properties(
    spectra: NDArray[np.floating],
    grid: SpectralGrid = EDOS_GRID,
    n_sites: NDArray[np.integer] | None = None,
) -> pd.DataFrame:
    """Derive cheap properties from spectra.

    The Sommerfeld coefficient is that of band theory, gamma = (pi^2 / 3) k_B^2 g(E_F), without
    electron-phonon enhancement, per mole of cells. The logarithmic slope d ln g / dE at E_F is the
    density-of-states part of the Mott formula: the thermopower of a metal grows with it.

    Parameters
    ----------
    spectra
        Shape (n, grid.size), states/eV per cell.
    grid
        The grid of the spectra.
    n_sites
        Sites per cell, shape (n,); without them the column per atom is null.

    Returns
    -------
    pandas.DataFrame
        One row per spectrum in the same order. Null where a quantity is undefined: every one for
        a spectrum that is not finite, the slope where the DOS at E_F is zero, the centre where
        the window holds no occupied states.

    Raises
    ------
    ValueError
        If the spectra are not on the grid.
    """
    grid.check(spectra)
    above = first_bin_above_zero(grid)
    finite = np.asarray(np.isfinite(spectra).all(axis=1), dtype=np.bool_)
    # Only bins up to just above zero are used: the copy is half as large as the spectra in 64 bits.
    values = np.array(spectra[:, : above + 2], dtype=np.float64)
    values[~finite] = np.nan
    at_efermi = dos_at_efermi(values, grid)
    slope = (values[:, above : above + 2].mean(axis=1) - values[:, above - 2 : above].mean(axis=1)) / (2 * grid.width)
    occupied = values[:, :above].sum(axis=1) * grid.width
    first_moment = values[:, :above] @ grid.centers[:above] * grid.width
    sites = np.full(len(values), np.nan) if n_sites is None else np.asarray(n_sites, dtype=np.float64)
    return pd.DataFrame(
        {
            Column.DOS_AT_EFERMI: at_efermi,
            Column.DOS_AT_EFERMI_PER_ATOM: _ratio(at_efermi, sites),
            Column.DOS_LOGARITHMIC_SLOPE: _ratio(slope, at_efermi),
            Column.SOMMERFELD_COEFFICIENT: SOMMERFELD_MJ_EV_PER_MOL_K2 * at_efermi,
            Column.OCCUPIED_STATES: occupied,
            Column.OCCUPIED_CENTER_EV: _ratio(first_moment, occupied),
        }
    )


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotient, NaN (a null in the table) where the denominator is not positive."""
    positive = denominator > 0
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=positive)
