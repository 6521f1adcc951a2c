import pytest
import torch

from mat2spec.settings import LARGEST_METAL_GAP_EV
from mat2spec.tight_binding.filling import band_edges, fermi_level, fill

WEIGHTS = torch.tensor([0.25, 0.75], dtype=torch.float64)


def bands(gap=1.0):
    return torch.tensor([[-3.0, -1.0, -1.0 + gap + 0.3], [-2.0, -1.2, -1.0 + gap]], dtype=torch.float64)


def test_the_fermi_level_holds_the_electrons():
    energies = torch.linspace(-5, 5, 40, dtype=torch.float64).reshape(2, 20)
    level = fermi_level(energies, WEIGHTS, 13.4)
    occupation = torch.special.expit((level - energies) / 0.08)
    assert float(2 * (WEIGHTS[:, None] * occupation).sum()) == pytest.approx(13.4, abs=1e-5)


def test_the_gradient_of_the_fermi_level_is_that_of_finite_differences():
    energies = torch.tensor([[-1.0, 0.03, 0.5], [-0.8, -0.05, 0.1]], dtype=torch.float64, requires_grad=True)
    fermi_level(energies, WEIGHTS, 3.0).backward()
    for k in range(2):
        for band in range(3):
            moved = [energies.detach().clone() for _ in range(2)]
            moved[0][k, band] += 1e-4
            moved[1][k, band] -= 1e-4
            up, down = (float(fermi_level(each, WEIGHTS, 3.0)) for each in moved)
            assert float(energies.grad[k, band]) == pytest.approx((up - down) / 2e-4, abs=1e-4)


def test_an_insulator_has_its_zero_at_the_valence_band_maximum():
    filling = fill(bands(), WEIGHTS, 4)
    assert not filling.is_metal
    assert filling.gap_ev == pytest.approx(1.0)
    assert float(filling.zero_ev) == pytest.approx(-1.0)


def test_the_order_of_the_bands_does_not_matter():
    shuffled = bands()[:, [2, 0, 1]]
    assert fill(shuffled, WEIGHTS, 4) == fill(bands(), WEIGHTS, 4)


def test_an_odd_electron_makes_a_metal():
    filling = fill(bands(), WEIGHTS, 3)
    assert filling.is_metal
    assert filling.gap_ev == 0
    assert band_edges(bands(), 3) is None


def test_full_and_empty_bases_have_no_edges():
    assert band_edges(bands(), 6) is None
    assert band_edges(bands(), 0) is None


def test_the_zero_does_not_jump_where_the_gap_opens():
    gaps = torch.linspace(-0.2, 0.4, 601)
    zeros = torch.stack([fill(bands(float(gap)), WEIGHTS, 4).zero_ev for gap in gaps])
    assert float(zeros.diff().abs().max()) < 4e-3
    assert fill(bands(LARGEST_METAL_GAP_EV - 0.01), WEIGHTS, 4).is_metal
    assert not fill(bands(LARGEST_METAL_GAP_EV + 0.01), WEIGHTS, 4).is_metal


def spins(*levels_ev):
    """Flat bands of two k-points, one list of levels for each spin."""
    return torch.tensor([levels for levels in levels_ev for _ in range(2)], dtype=torch.float64)


def test_three_electrons_are_an_insulator_where_two_spins_split():
    energies = spins([-3.0, -1.0, 4.0], [-2.0, 1.5, 5.0])
    weights = torch.full((4,), 0.25, dtype=torch.float64)
    assert [float(edge) for edge in band_edges(energies, 3, n_spins=2)] == [-1.0, 1.5]
    filling = fill(energies, weights, 3, n_spins=2)
    assert (float(filling.zero_ev), filling.gap_ev, filling.is_metal) == (-1.0, 2.5, False)
    assert fill(energies[:2], weights[:2] * 2, 3).is_metal


def test_a_spin_with_a_gap_beside_one_without_is_a_metal():
    half_metal = spins([-3.0, -1.0, 4.0], [-2.0, 1.5, 5.0])
    half_metal[0, 1], half_metal[1, 1] = -1.0, 2.0
    weights = torch.full((4,), 0.25, dtype=torch.float64)
    filling = fill(half_metal, weights, 3, n_spins=2)
    assert filling.is_metal
    occupied = 2 * weights[:, None] * torch.special.expit((filling.zero_ev - half_metal) / 0.08)
    assert float(occupied.sum()) == pytest.approx(3, abs=1e-6)
