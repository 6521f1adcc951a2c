from dataclasses import replace

import numpy as np
import pytest
import torch

from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tight_binding.density_of_states import projected_dos

WIDE = replace(EDOS_GRID, first_center=-10.0, last_center=10.0, size=2001)


def test_projections_hold_two_electrons_a_band():
    energies = torch.tensor([[-1.0, 0.5], [-0.7, 1.5]], dtype=torch.float64)
    shares = torch.tensor([[[0.2, 0.8], [1.0, 0.0]], [[0.5, 0.5], [0.3, 0.7]]], dtype=torch.float64)
    weights = torch.tensor([0.25, 0.75], dtype=torch.float64)
    density = projected_dos(energies, shares, weights, WIDE)
    expected = 2 * torch.einsum("k,kbg->g", weights, shares)
    assert WIDE.integrate(density.numpy()) == pytest.approx(expected.numpy(), rel=1e-4)


def test_states_far_from_the_grid_are_left_out():
    energies = torch.tensor([[-40.0, 30.0]], dtype=torch.float64)
    density = projected_dos(energies, torch.ones(1, 2, 1, dtype=torch.float64), torch.ones(1), EDOS_GRID)
    assert np.array_equal(density.numpy(), np.zeros((1, EDOS_GRID.size)))


def test_members_together_are_those_one_by_one():
    torch.manual_seed(0)
    energies, shares, weights = 6 * torch.randn(3, 2, 7), torch.rand(2, 7, 4), torch.tensor([0.3, 0.7])
    together = projected_dos(energies, shares, weights, EDOS_GRID)
    for member, alone in zip(together, energies, strict=True):
        torch.testing.assert_close(member, projected_dos(alone, shares, weights, EDOS_GRID), rtol=1e-5, atol=1e-7)
