"""Properties that follow from an electronic density of states alone, for many spectra at once.

Energies are relative to the grid's zero: E_F of a metal, the valence band maximum (VBM) of a gapped material. Constants
are those of CODATA 2018.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.special import ndtr

from mat2spec.spectra.constants import ANGSTROM3_PER_CM3, BOLTZMANN_EV_PER_K, HBAR2_OVER_MASS_EV_A2
from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid
from mat2spec.tables.columns import Column
from screening.classify.materials import Materials

# (pi^2 / 3) k_B^2 N_A in mJ eV / (mol K^2): gamma of a density of one state/eV per atom, per mole of atoms (Ashcroft and
# Mermin, Solid State Physics, ch. 2).
SOMMERFELD_MJ_EV_PER_MOL_K2 = math.pi**2 / 3 * BOLTZMANN_EV_PER_K**2 * 96485.33212 * 1e3
SEEBECK_TEMPERATURE_K = 300.0
# Bins above it may be NaN: only states below a gap matter there, and none is found where bands are missing.
_LOOKED_AT_TO_EV = 0.5
# Steps of a bin in which the thermal window, narrower than two bins at 300 K, is integrated.
_STEPS_PER_BIN = 64

PROPERTY_COLUMNS = (
    Column.DOS_AT_EFERMI_PER_ATOM,
    Column.DOS_AT_EFERMI_PER_ATOM_STD,
    Column.DOS_LOGARITHMIC_SLOPE,
    Column.SOMMERFELD_COEFFICIENT,
    Column.STONER_PRODUCT,
    Column.SEEBECK_300K,
    Column.SEEBECK_SIGN_CONFIDENCE,
    Column.CARRIERS,
    Column.CARRIERS_STD,
    Column.BAND_MASS,
    Column.OCCUPIED_STATES,
    Column.OCCUPIED_CENTER_EV,
)


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
    VBM, whereas the value at E_F alone cannot distinguish it from a metal.

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
    classes: pd.DataFrame,
    materials: Materials,
    grid: SpectralGrid = EDOS_GRID,
    uncertainty: NDArray[np.floating] | None = None,
) -> pd.DataFrame:
    """Derive properties from spectra per atom.

    Parameters
    ----------
    spectra
        Shape (n, grid.size), states/eV per atom.
    classes
        `is_metal` and the gaps of these spectra (`screening.classify.gaps.classify_spectra`).
    materials
        Their volumes and Stoner parameters.
    grid
        The grid of the spectra.
    uncertainty
        Standard deviations of the bins, states/eV per atom; without it their columns are null.

    Returns
    -------
    pandas.DataFrame
        One row per spectrum in the same order: `PROPERTY_COLUMNS`, defined in `Column`. Null where undefined: all for
        spectra with NaN below 0.5 eV, those of the Fermi surface for non-metals, the carriers without a gap. Errors of neighbouring
        bins count as fully correlated in sums (an upper bound) and as independent for the sign of the Seebeck coefficient.

    Raises
    ------
    ValueError
        If the spectra are not on the grid.
    """
    grid.check(spectra)
    values = np.asarray(spectra, dtype=np.float64)
    needed = grid.edges[:-1] < _LOOKED_AT_TO_EV
    known = np.asarray(np.isfinite(values[:, needed]).all(axis=1), dtype=np.bool_)
    values = np.where(known[:, None], np.nan_to_num(values), np.nan)
    errors = np.full(values.shape, np.nan) if uncertainty is None else np.asarray(uncertainty, dtype=np.float64)
    metal = classes[Column.IS_METAL].fillna(value=False).to_numpy(dtype=np.bool_)
    above = first_bin_above_zero(grid)
    at_efermi = dos_at_efermi(values, grid)
    of_metals = np.where(metal, at_efermi, np.nan)
    slope = (values[:, above : above + 2].mean(axis=1) - values[:, above - 2 : above].mean(axis=1)) / (2 * grid.width)
    seebeck, sign_confidence = _seebeck(values, errors, grid, metal)
    return pd.DataFrame(
        {
            Column.DOS_AT_EFERMI_PER_ATOM: at_efermi,
            Column.DOS_AT_EFERMI_PER_ATOM_STD: dos_at_efermi(errors, grid),
            Column.DOS_LOGARITHMIC_SLOPE: _ratio(slope, at_efermi),
            Column.SOMMERFELD_COEFFICIENT: SOMMERFELD_MJ_EV_PER_MOL_K2 * of_metals,
            Column.STONER_PRODUCT: materials.stoner_ev * of_metals,
            Column.SEEBECK_300K: seebeck,
            Column.SEEBECK_SIGN_CONFIDENCE: sign_confidence,
            **_carrier_columns(values, errors, of_metals, _between_gap_and_efermi(classes, grid), grid, materials),
            **_occupied_columns(values, grid),
        }
    ).astype("float64")


def _carrier_columns(
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    of_metals: NDArray[np.float64],
    between: NDArray[np.float64],
    grid: SpectralGrid,
    materials: Materials,
) -> dict[str, NDArray[np.float64]]:
    """Carriers between gap and E_F, and the band mass at which free carriers have this density of states at E_F."""
    volumes_a3 = materials.sizes.volumes_per_site
    carriers = _carriers(values, between, grid, volumes_a3)
    return {
        Column.CARRIERS: carriers,
        Column.CARRIERS_STD: _carriers(errors, between, grid, volumes_a3),
        Column.BAND_MASS: _band_mass(of_metals / volumes_a3, carriers / ANGSTROM3_PER_CM3),
    }


def _occupied_columns(values: NDArray[np.float64], grid: SpectralGrid) -> dict[str, NDArray[np.float64]]:
    """Number and centre of the occupied states on the grid."""
    below = values[:, : first_bin_above_zero(grid)]
    states = below.sum(axis=1) * grid.width
    first_moment = below @ grid.centers[: below.shape[1]] * grid.width
    return {Column.OCCUPIED_STATES: states, Column.OCCUPIED_CENTER_EV: _ratio(first_moment, states)}


def _seebeck(
    values: NDArray[np.float64], errors: NDArray[np.float64], grid: SpectralGrid, metal: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seebeck coefficient in microvolt per kelvin, and the probability that its sign is right.

    ``S = -<E> / (e T)``, where ``<E>`` is the mean of E - E_F with the weight ``g(E) (-df/dE)``: the transport integrals
    of the linearised Boltzmann equation (Ashcroft and Mermin, Solid State Physics, ch. 13; Madsen and Singh, Comput. Phys.
    Commun. 175, 67, 2006) with a transport distribution that is proportional to the density of states. For a slowly
    varying density it is the formula of Mott (Cutler and Mott, Phys. Rev. 181, 1336, 1969).
    """
    zeroth, first = thermal_weights(grid, SEEBECK_TEMPERATURE_K)
    weight = np.where(metal, values @ zeroth, np.nan)
    mean = _ratio(np.where(metal, values @ first, np.nan), weight)
    variance = errors**2 @ first**2 - 2 * mean * (errors**2 @ (zeroth * first)) + mean**2 * (errors**2 @ zeroth**2)
    deviation = _ratio(np.sqrt(np.maximum(variance, 0.0)), weight)
    return -1e6 * mean / SEEBECK_TEMPERATURE_K, ndtr(_ratio(np.abs(mean), deviation))


@lru_cache(maxsize=4)
def thermal_weights(grid: SpectralGrid, temperature_k: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the bins in the integrals of g (-df/dE) and of g (-df/dE) (E - E_F), shape (grid.size,) each.

    The density is interpolated linearly between bin centres.
    """
    n_steps = _STEPS_PER_BIN * (grid.size - 1) + 1
    energies = np.linspace(grid.first_center, grid.last_center, n_steps)
    thermal = BOLTZMANN_EV_PER_K * temperature_k
    window = 1 / (4 * thermal * np.cosh(np.clip(energies / (2 * thermal), -300, 300)) ** 2)
    position = (energies - grid.first_center) / grid.width
    lower = np.minimum(position.astype(np.int64), grid.size - 2)
    share = position - lower
    step = grid.width / _STEPS_PER_BIN
    weights = []
    for moment in (window, window * energies):
        in_bins = np.bincount(lower, moment * (1 - share), grid.size) + np.bincount(
            lower + 1, moment * share, grid.size
        )
        weights.append(np.asarray(in_bins * step, dtype=np.float64))
    return weights[0], weights[1]


def _between_gap_and_efermi(classes: pd.DataFrame, grid: SpectralGrid) -> NDArray[np.float64]:
    """Share of each bin between the middle of the gap and E_F, shape (n, grid.size); zero unless a gapped metal.

    The edge of a gap lies where the density crosses a threshold: the foot of the band is below it.
    """
    kind = classes[Column.GAPPED_METAL_TYPE].to_numpy(dtype=object)
    n_type, p_type = np.isin(kind, ["n", "n+p"]), np.equal(kind, "p")
    low = np.where(n_type, _middle(classes, Column.GAP_BOTTOM_EV, Column.GAP_TOP_EV), 0.0)
    high = np.where(p_type, _middle(classes, Column.GAP_ABOVE_BOTTOM_EV, Column.GAP_ABOVE_TOP_EV), 0.0)
    reach = np.minimum(high[:, None], grid.edges[1:]) - np.maximum(low[:, None], grid.edges[:-1])
    return np.where((n_type | p_type)[:, None], np.maximum(reach, 0.0) / grid.width, 0.0)


def _middle(classes: pd.DataFrame, *edges: Column) -> NDArray[np.float64]:
    return classes[list(edges)].to_numpy(dtype=np.float64, na_value=np.nan).mean(axis=1)


def _carriers(
    values: NDArray[np.float64], between: NDArray[np.float64], grid: SpectralGrid, volumes_a3: NDArray[np.float64]
) -> NDArray[np.float64]:
    """States between gap and E_F per cm3; NaN without a gap."""
    states = (values * between).sum(axis=1) * grid.width
    return np.where(between.any(axis=1), states / volumes_a3 * ANGSTROM3_PER_CM3, np.nan)


def _band_mass(density: NDArray[np.float64], carriers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mass of free carriers with a density of states (states/eV per cubic Angstrom) and a number per cubic Angstrom.

    ``g(E_F) = m k_F / (pi hbar)^2`` and ``k_F = (3 pi^2 n)^(1/3)`` (Ashcroft and Mermin, Solid State Physics, ch. 2).
    """
    k_fermi = np.cbrt(3 * math.pi**2 * carriers)
    return math.pi**2 * HBAR2_OVER_MASS_EV_A2 * _ratio(density, k_fermi)


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotient, NaN (a null in the table) where the denominator is not positive."""
    positive = denominator > 0
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=positive)
