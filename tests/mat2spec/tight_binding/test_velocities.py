import numpy as np
import pytest
import torch

from mat2spec.tight_binding import velocities
from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.problem import PreparationSettings, prepare
from mat2spec.tight_binding.velocities import CorrectedCrystal, average_over_group
from tests.mat2spec.tight_binding.conftest import low_symmetry, primitive, zinc_blende
from tests.mat2spec.tight_binding.one_orbital import one_orbital

EVERYTHING = np.array([[-np.inf, np.inf]])


def corrected(cell, seed=3):
    """A crystal with random corrections, the same on equivalent atoms."""
    torch.manual_seed(seed)
    problem = prepare(cell, PreparationSettings(20.0, self_consistent=False))
    shifts, scales = (torch.randn(cell.n_atoms, 3)[cell.equivalent_atoms].ravel() for _ in range(2))
    return CorrectedCrystal(TightBindingCrystal.of(cell), problem, 0.5 * shifts[None], 0.05 * scales)


def derivatives(crystal, kpoint, direction, step=1e-4):
    """Slopes of all bands along a Cartesian direction, by differences."""
    ahead = crystal.cell.lattice @ direction * step / (2 * np.pi)
    (energies,) = crystal.energies(np.array([kpoint - ahead, kpoint + ahead]))
    return (energies[1] - energies[0]) / (2 * step)


def test_velocities_are_the_differences_of_the_energies():
    crystal = corrected(primitive(low_symmetry()))
    kpoint = np.array([0.11, -0.23, 0.37])
    states = crystal.states(kpoint[None], EVERYTHING)
    direction = np.array([0.3, -0.5, 0.7])
    slopes = derivatives(crystal, kpoint, direction)
    assert np.einsum("x,nxy,y->n", direction, states.products, direction) == pytest.approx(
        slopes**2, rel=1e-4, abs=1e-5
    )


def test_a_degenerate_level_has_the_sum_of_the_squared_slopes_of_its_bands():
    crystal = corrected(zinc_blende())
    # On the line from Gamma to L the upper valence bands are degenerate in pairs.
    kpoint = np.array([0.2, 0.2, 0.2])
    states = crystal.states(kpoint[None], EVERYTHING)
    pairs = np.flatnonzero(np.diff(states.levels_ev) < 1e-6)
    assert len(pairs) > 2
    direction, step = np.array([0.6, 0.1, -0.4]), 1e-4
    ahead = crystal.cell.lattice @ direction * step / (2 * np.pi)
    (energies,) = crystal.energies(np.array([kpoint, kpoint + ahead]))
    for pair in pairs:
        level = slice(pair, pair + 2)
        slopes = (energies[1, level] - energies[0, level]) / step
        found = np.einsum("x,nxy,y->n", direction, states.products[level], direction).sum()
        assert found == pytest.approx((slopes**2).sum(), rel=5e-3, abs=1e-3)


def test_only_states_of_the_windows_are_kept():
    crystal = one_orbital(np.eye(3) * 3, [[-1, -1, -1]])
    kpoints = np.array([[0, 0, 0], [0.25, 0.25, 0.25], [0.5, 0.5, 0.5]])
    states = crystal.states(kpoints, np.array([[-7, -5], [5, 7]]))
    assert states.levels_ev == pytest.approx([-6, 6])
    assert states.points.tolist() == [0, 2]
    nothing = crystal.states(kpoints, np.array([[20.0, 30.0]]))
    assert nothing.products.shape == (0, 3, 3)


def test_a_mean_over_a_cubic_group_is_isotropic():
    tensors = np.random.default_rng(1).normal(size=(4, 3, 3))
    tensors += tensors.swapaxes(1, 2)
    averaged = average_over_group(tensors, zinc_blende())
    assert averaged == pytest.approx(np.trace(tensors, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3), abs=1e-12)


def test_states_of_large_matrices_are_found_in_pieces(monkeypatch):
    crystal = corrected(zinc_blende())
    kpoints = np.random.default_rng(0).uniform(-0.5, 0.5, (7, 3))
    together, energies = crystal.states(kpoints, EVERYTHING), crystal.energies(kpoints)
    monkeypatch.setattr(velocities, "_MOST_ELEMENTS", 3 * crystal.crystal.basis.size**2)
    pieces, energies_of_pieces = crystal.states(kpoints, EVERYTHING), crystal.energies(kpoints)
    assert [piece.start for piece in crystal._chunks(7)] == [0, 3, 6]
    assert np.array_equal(pieces.points, together.points)
    assert pieces.levels_ev == pytest.approx(together.levels_ev, abs=1e-9)
    assert pieces.products == pytest.approx(together.products, abs=1e-7)
    assert energies_of_pieces == pytest.approx(energies, abs=1e-9)
