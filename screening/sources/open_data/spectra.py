"""From sampled densities of states to the bins on which models are trained."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mat2spec.settings import LARGEST_METAL_GAP_EV
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID, edges_of_samples, rebin_to_edges
from mat2spec.spectra.phonons import CM1_PER_THZ, MODES_PER_ATOM

# A density below this fraction of the mean counts as zero, as in pymatgen's `Dos.get_cbm_vbm`.
EMPTY_SHARE = 1e-3


class SpectrumError(ValueError):
    """A sampled density of states cannot be used; the message is the reason, identical for all such cases."""


class BinnedEdos(NamedTuple):
    """An electronic density of states on `EDOS_GRID`.

    Parameters
    ----------
    edos
        Bin averages, both spins summed, states/eV per cell, shape (128,).
    energy_zero_ev
        Zero of the grid on the energy scale of the samples: the VBM if there is a gap, else E_F.
    band_gap
        Gap in the samples, in eV.
    covered_to_ev
        Energy above the zero at which the samples end.
    """

    edos: NDArray[np.float64]
    energy_zero_ev: float
    band_gap: float
    covered_to_ev: float


def bin_edos(energies: NDArray[np.float64], density: NDArray[np.float64], efermi: float) -> BinnedEdos:
    """Bin a density of states that is sampled at absolute energies.

    Parameters
    ----------
    energies
        In eV, increasing, shape (m,).
    density
        Both spins summed, states/eV per cell, shape (m,).
    efermi
        Fermi energy in eV on the same scale.

    Raises
    ------
    SpectrumError
        If the samples are damaged or do not cover the grid.
    """
    _check_samples(energies, density)
    if not np.isfinite(efermi) or not energies[0] < efermi < energies[-1]:
        raise SpectrumError("The Fermi energy is missing or outside the energies.")
    vbm, band_gap = find_gap(energies, density, efermi)
    zero = vbm if band_gap > LARGEST_METAL_GAP_EV else efermi
    edges = edges_of_samples(energies) - zero
    if edges[-1] < EDOS_GRID.edges[-1]:
        raise SpectrumError("The density of states ends below the top of the grid.")
    edos = np.maximum(rebin_to_edges(edges, density, EDOS_GRID.edges), 0.0)
    if not edos.any():
        raise SpectrumError("The density of states is zero over the whole grid.")
    return BinnedEdos(edos, float(zero), band_gap if band_gap > LARGEST_METAL_GAP_EV else 0.0, float(edges[-1]))


def find_gap(energies: NDArray[np.float64], density: NDArray[np.float64], efermi: float) -> tuple[float, float]:
    """Upper end of the occupied states and width of the gap around E_F, in eV; width 0 for a metal.

    Examples
    --------
    >>> import numpy as np
    >>> find_gap(np.linspace(-2, 2, 5), np.array([1.0, 1, 0, 0, 1]), 0.5)
    (-1.0, 3.0)
    """
    filled = np.flatnonzero(density > EMPTY_SHARE * density.mean())
    above = int(np.searchsorted(energies, efermi, side="right"))
    position = int(np.searchsorted(filled, above))
    if position in {0, len(filled)}:
        raise SpectrumError("There are no states on one side of the Fermi energy.")
    below, next_filled = int(filled[position - 1]), int(filled[position])
    if next_filled - below == 1:
        return float(energies[below]), 0.0
    return float(energies[below]), float(energies[next_filled] - energies[below])


def bin_phdos(
    frequencies_thz: NDArray[np.float64], density: NDArray[np.float64], n_sites: int
) -> tuple[NDArray[np.float64], float]:
    """Bin a phonon density of states and normalise it to 3 modes per atom.

    Parameters
    ----------
    frequencies_thz
        Increasing, shape (m,); imaginary frequencies are negative.
    density
        In any unit, shape (m,).
    n_sites
        Atoms of the cell.

    Returns
    -------
    phdos : numpy.ndarray
        On `PHDOS_GRID`, states per cm-1 per cell, shape (51,).
    imaginary_fraction : float
        Share of imaginary modes.

    Raises
    ------
    SpectrumError
        If the samples are damaged or contain no real mode.
    """
    _check_samples(frequencies_thz, density)
    edges = edges_of_samples(frequencies_thz * CM1_PER_THZ)
    weights = np.maximum(density, 0.0) * np.diff(edges)
    imaginary = float(weights[frequencies_thz < 0].sum() / weights.sum()) if weights.sum() > 0 else 1.0
    phdos = np.maximum(rebin_to_edges(edges, np.maximum(density, 0.0), PHDOS_GRID.edges), 0.0)
    integral = float(PHDOS_GRID.integrate(phdos))
    if integral <= 0:
        raise SpectrumError("The phonon density of states is zero over the whole grid.")
    return phdos * (MODES_PER_ATOM * n_sites / integral), imaginary


def _check_samples(positions: NDArray[np.float64], density: NDArray[np.float64]) -> None:
    if len(positions) < 2 or len(positions) != len(density):
        raise SpectrumError("Energies and densities are missing or differ in number.")
    if not (np.isfinite(positions).all() and np.isfinite(density).all()):
        raise SpectrumError("The samples contain non-finite numbers.")
    if (np.diff(positions) <= 0).any():
        raise SpectrumError("The energies do not increase.")
