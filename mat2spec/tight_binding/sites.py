"""A predicted spectrum split over the sites and shells of its crystal.

The second network of the model makes a spectrum for every site; each is split over the shells of its atom as the bands are,
by Mulliken populations (R. S. Mulliken, J. Chem. Phys. 23, 1833 (1955)). The model learned from sums over all sites, so that
the split is a consequence of its bands, not something that it was trained on.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pymatgen.core import Element
from torch import Tensor

from mat2spec.spectra.grids import SpectralGrid
from mat2spec.tight_binding.channels import N_SHELLS, SHELL_NAMES
from mat2spec.tight_binding.density_of_states import projected_dos
from mat2spec.tight_binding.filling import fill
from mat2spec.tight_binding.model import TightBinding, predicted_spectrum
from mat2spec.tight_binding.network import average_equivalent
from mat2spec.tight_binding.problem import LinearBands, Problem

# States/eV below which the bands do not say to which shell of a site a bin belongs.
_EMPTY = 1e-6


@torch.no_grad()
def project_on_sites(model: TightBinding, problem: Problem, descriptors: Tensor) -> NDArray[np.float64]:
    """The predicted spectrum by site of the primitive cell and shell (s, p, d).

    Parameters
    ----------
    model
        The trained ensemble.
    problem
        The crystal.
    descriptors
        Of its sites, shape (n_atoms, width).

    Returns
    -------
    ndarray
        States/eV, shape (n_atoms, 3, size); the sum over sites and shells is the spectrum of the primitive cell.
    """
    sites = model.of_sites(descriptors, torch.from_numpy(problem.cell.atomic_numbers).to(descriptors.device))
    spectra, gaps, bands = model.site_spectra(problem, sites)
    mean = predicted_spectrum(model.answer_of(spectra, gaps, sites), model.grid)
    total = (mean.shape * mean.total).double().cpu().numpy() * problem.n_atoms
    by_site = spectra.mean(dim=0).double().cpu().numpy()
    zero = fill(bands.energies, problem.state_weights, problem.n_electrons, problem.n_spins).zero_ev
    of_shells = _shares_of_shells(shell_densities(problem, bands, zero, model.grid))
    return (by_site / by_site.sum(axis=0) * total)[:, None, :] * of_shells


def shell_densities(
    problem: Problem, bands: LinearBands, zero_ev: Tensor | float, grid: SpectralGrid
) -> NDArray[np.float64]:
    """Density of the bands by atom and shell, states/eV, the same on equivalent atoms, shape (n_atoms, 3, size)."""
    by_shell = average_equivalent(bands.by_shifts.unflatten(-1, (-1, N_SHELLS)).mT, problem).clamp_min(0)
    relative = bands.energies - zero_ev
    densities = projected_dos(relative, by_shell.flatten(-2), problem.state_weights, grid)
    values: NDArray[np.float64] = densities.unflatten(0, (N_SHELLS, -1)).transpose(0, 1).double().cpu().numpy()
    return values


def sum_by_element(by_atom: NDArray[np.float64], numbers: NDArray[np.integer]) -> dict[str, NDArray[np.float64]]:
    """Sums over the atoms of each element, by element and shell such as "Ti d"; without shells that hold nothing.

    Parameters
    ----------
    by_atom
        Spectra by atom and shell, shape (n_atoms, 3, size).
    numbers
        Atomic numbers, shape (n_atoms,).
    """
    sums = {
        f"{Element.from_Z(int(number)).symbol} {shell}": by_atom[numbers == number, position].sum(axis=0)
        for position, shell in enumerate(SHELL_NAMES)
        for number in np.unique(numbers)
    }
    return {name: values for name, values in sums.items() if values.any()}


def _shares_of_shells(densities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each shell in the density of its atom; in a bin without bands that of the whole window."""
    of_atom = densities.sum(axis=1, keepdims=True)
    whole = densities.sum(axis=2, keepdims=True)
    whole = np.where(whole.sum(axis=1, keepdims=True) > 0, whole, 1.0)
    by_bin = densities / np.maximum(of_atom, _EMPTY)
    return np.where(of_atom > _EMPTY, by_bin, whole / whole.sum(axis=1, keepdims=True))
