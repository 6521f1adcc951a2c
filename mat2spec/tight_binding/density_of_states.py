"""Broadened densities of states from bands on a mesh."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mat2spec.spectra.grids import SpectralGrid

BROADENING_EV = 0.2
# Bands this many broadenings outside the grid are left out.
_REACH = 4.0
# Where a Gaussian has fallen to 1e-18, in broadenings; smaller numbers would only be slow.
_NOTHING = 9.0


def broadened_states(
    energies: Tensor, weights: Tensor, grid: SpectralGrid, broadening_ev: float = BROADENING_EV
) -> tuple[Tensor, Tensor, Tensor]:
    """Gaussian of each band near the grid, in states/eV with both spins.

    Parameters
    ----------
    energies
        Relative to the zero of the grid, in eV, shape (..., n_kpoints, n_bands); of several members along a first axis.
    weights
        Of the k-points, shape (n_kpoints,).
    grid
        Where to evaluate.
    broadening_ev
        Standard deviation.

    Returns
    -------
    Tensor
        Shape (..., n_states, grid.size); zero in members whose band is not near.
    Tensor
        k-point of each state.
    Tensor
        Band of each state.
    """
    reach = _REACH * broadening_ev
    fixed = energies.detach()
    near = (fixed > grid.first_center - reach) & (fixed < grid.last_center + reach)
    kpoint, band = (
        near.flatten(0, -3).any(dim=0).nonzero(as_tuple=True) if near.dim() > 2 else near.nonzero(as_tuple=True)
    )
    centers = torch.as_tensor(grid.centers, dtype=energies.dtype, device=energies.device)
    x = (centers - energies[..., kpoint, band, None]) / broadening_ev
    height = 2 * weights[kpoint].to(energies.dtype) / (broadening_ev * math.sqrt(2 * math.pi))
    return (
        torch.exp(-0.5 * x.clamp(-_NOTHING, _NOTHING) ** 2) * (height * near[..., kpoint, band])[..., None],
        kpoint,
        band,
    )


def projected_dos(
    energies: Tensor,
    shares: Tensor,
    weights: Tensor,
    grid: SpectralGrid,
    broadening_ev: float = BROADENING_EV,
) -> Tensor:
    """Density of states of each group of orbitals, states/eV, shape (..., n_groups, grid.size).

    Parameters
    ----------
    energies
        Relative to the zero of the grid, in eV, shape (..., n_kpoints, n_bands), as in `broadened_states`.
    shares
        Populations of the groups in each band, shape (n_kpoints, n_bands, n_groups).
    weights, grid, broadening_ev
        As in `broadened_states`.
    """
    states, kpoint, band = broadened_states(energies, weights, grid, broadening_ev)
    return shares[kpoint, band].to(states.dtype).mT @ states
