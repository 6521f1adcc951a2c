"""Fermi level or valence band maximum, found by counting electrons.

Labels have their zero at the VBM if the gap is above 0.05 eV, else at E_F. To avoid a jump of the zero, it is blended
over a few hundredths of an eV around that gap. All functions propagate gradients through the energies, that of E_F by
implicit differentiation of the electron count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit
from torch import Tensor

from mat2spec.settings import LARGEST_METAL_GAP_EV

BLENDING_WIDTH_EV = 0.02
# Broadening of the occupations, in eV; on coarse meshes it replaces an integration over k.
TEMPERATURE_EV = 0.08
# Half widths of the intervals in which the level is searched one after the other, and how much further off a state is full
# or empty, in units of the temperature.
_NEAR, _FAR, _SHARP = 2.0, 20.0, 20.0
_SMALLEST_DENSITY = 1e-8


@dataclass(frozen=True)
class Filling:
    """Filled bands of a crystal.

    Parameters
    ----------
    zero_ev
        Energy of the zero of the spectrum, a scalar with gradient.
    gap_ev
        Gap between the filled and the empty bands; zero where bands overlap or are partly filled.
    is_metal
        Whether the gap is at most `LARGEST_METAL_GAP_EV`.
    """

    zero_ev: Tensor
    gap_ev: float
    is_metal: bool


def fermi_level(
    energies: Tensor, weights: Tensor, n_electrons: float, temperature_ev: float = TEMPERATURE_EV
) -> Tensor:
    """Fermi level in eV of bands with two electrons each, or with one for each spin.

    Parameters
    ----------
    energies
        Shape (n_kpoints, n_bands), in eV.
    weights
        Of the k-points, sum to one, shape (n_kpoints,).
    n_electrons
        Per cell.
    temperature_ev
        Width of the Fermi-Dirac occupation.
    """
    fixed = energies.detach().double()
    k_weights = weights.double()[:, None]
    level = _solve_for_level(
        fixed.cpu().numpy().ravel(),
        k_weights.expand(fixed.shape).cpu().numpy().ravel(),
        n_electrons / 2,
        temperature_ev,
    )
    if not energies.requires_grad:
        return energies.new_tensor(level)
    occupation = torch.special.expit((level - fixed) / temperature_ev)
    density = k_weights * occupation * (1 - occupation)
    total = density.sum()
    if float(total) < _SMALLEST_DENSITY:
        return energies.new_tensor(level)
    shares = (density / total).to(energies.dtype)
    return level + ((energies - energies.detach()) * shares).sum()


def _solve_for_level(
    energies: NDArray[np.float64], weights: NDArray[np.float64], n_filled: float, temperature_ev: float
) -> float:
    """Level at which the occupations sum to `n_filled`."""
    order = np.argsort(energies)
    filled = np.cumsum(weights[order])
    step = float(energies[order[min(int(np.searchsorted(filled, n_filled)), len(order) - 1)]])
    # The level usually lies near the zero-temperature step of the occupation, where few states matter.
    for reach in (_NEAR * temperature_ev, _FAR * temperature_ev, float(np.ptp(energies)) + 1.0):
        margin = reach + _SHARP * temperature_ev
        near = np.abs(energies - step) < margin
        below = weights[energies <= step - margin].sum() - n_filled
        near_energies, near_weights = energies[near], weights[near]

        def excess(
            level: float,
            e: NDArray[np.float64] = near_energies,
            w: NDArray[np.float64] = near_weights,
            b: float = below,
        ) -> float:
            return float(b + w @ expit((level - e) / temperature_ev))

        if excess(step - reach) < 0 < excess(step + reach):
            return float(brentq(excess, step - reach, step + reach, xtol=1e-9))
    # All bands are full or empty.
    return step + reach if excess(step) < 0 else step - reach


def band_edges(energies: Tensor, n_electrons: int, n_spins: int = 1) -> tuple[Tensor, Tensor] | None:
    """VBM and CBM in eV; None where the bands cannot be filled completely.

    Each of two spins is filled with a whole number of bands, chosen such that the gap is widest.

    Parameters
    ----------
    energies
        Those of the spins one after the other, shape (n_spins x n_kpoints, n_bands), in eV.
    n_electrons
        Per cell.
    n_spins
        1 or 2.
    """
    n_bands = energies.shape[1]
    ordered = torch.sort(energies, dim=1).values.unflatten(0, (n_spins, -1))
    # Bands that may be filled in the first spin; without spin half of them all.
    first = np.arange(max(1, n_electrons - n_bands + 1), min(n_bands, n_electrons))
    if n_spins == 1:
        first = first[2 * first == n_electrons]
    if not len(first):
        return None
    tops, bottoms = ordered.amax(dim=1), ordered.amin(dim=1)
    every_spin = torch.arange(n_spins)
    counts = torch.from_numpy(np.stack([first, n_electrons - first], axis=1)[:, :n_spins])
    vbm, cbm = tops[every_spin, counts - 1].amax(dim=1), bottoms[every_spin, counts].amin(dim=1)
    widest = int((cbm - vbm).argmax())
    return vbm[widest], cbm[widest]


def fill(energies: Tensor, weights: Tensor, n_electrons: int, n_spins: int = 1) -> Filling:
    """Fill bands with the electrons of the cell; parameters as in `fermi_level` and `band_edges`."""
    edges = band_edges(energies, n_electrons, n_spins)
    if edges is None:
        return Filling(fermi_level(energies, weights, n_electrons), 0.0, is_metal=True)
    vbm, cbm = edges
    gap = cbm - vbm
    gap_ev = max(0.0, float(gap.detach()))
    share = torch.sigmoid((gap - LARGEST_METAL_GAP_EV) / BLENDING_WIDTH_EV)
    if float(share.detach()) > 1 - 1e-6:
        return Filling(vbm, gap_ev, is_metal=False)
    level = fermi_level(energies, weights, n_electrons)
    zero = level if float(share.detach()) < 1e-6 else share * vbm + (1 - share) * level
    return Filling(zero, gap_ev, is_metal=gap_ev <= LARGEST_METAL_GAP_EV)
