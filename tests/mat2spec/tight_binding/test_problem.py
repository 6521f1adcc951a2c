from dataclasses import replace

import numpy as np
import pytest
import torch

from mat2spec.tight_binding.eigenproblem import orthogonalise, solve
from mat2spec.tight_binding.problem import (
    LinearBands,
    PreparationSettings,
    corrected_bands,
    prepare,
    shared_by_close_bands,
)
from tests.mat2spec.tight_binding.conftest import as_given, low_symmetry, primitive, rock_salt, zinc_blende

COARSE = PreparationSettings(kpoints_per_atom=20)


def functional(problem, shifts, scales):
    """A smooth number made of the energies, symmetric where bands are degenerate."""
    energies, _ = corrected_bands(problem, shifts, scales)
    return (problem.state_weights[:, None] * torch.exp(-((energies / 8) ** 2))).sum()


@pytest.mark.parametrize(("n_spins", "kpoints_per_atom", "is_complex"), [(1, 20, True), (2, 20, True), (1, 12, False)])
def test_gradients_are_those_of_finite_differences(n_spins, kpoints_per_atom, is_complex):
    settings = PreparationSettings(kpoints_per_atom=kpoints_per_atom)
    problem = replace(prepare(zinc_blende(), settings), n_spins=n_spins)
    assert problem.overlap.is_complex() == is_complex
    torch.manual_seed(0)
    shifts = torch.randn(n_spins, 6, dtype=torch.float64, requires_grad=True)
    scales = (0.1 * torch.randn(6, dtype=torch.float64)).requires_grad_()
    functional(problem, shifts, scales).backward()
    for values in (shifts, scales):
        for index in range(values.numel()):
            step = torch.zeros_like(values)
            step.view(-1)[index] = 1e-4
            with torch.no_grad():
                changes = [
                    functional(problem, *(v + sign * step if v is values else v for v in (shifts, scales)))
                    for sign in (1, -1)
                ]
            assert float(values.grad.view(-1)[index]) == pytest.approx(
                float(changes[0] - changes[1]) / 2e-4, rel=1e-4, abs=1e-6
            )


def test_a_common_shift_moves_all_bands():
    problem = prepare(zinc_blende(), COARSE)
    zero = torch.zeros(6, dtype=torch.float64)
    plain, shares = corrected_bands(problem, zero[None], zero)
    moved, _ = corrected_bands(problem, zero[None] + 0.7, zero)
    assert (moved - plain).numpy() == pytest.approx(torch.full_like(plain, 0.7).numpy(), abs=1e-9)
    assert shares.sum(dim=2).numpy() == pytest.approx(torch.ones_like(plain).numpy(), abs=1e-9)


def test_spins_apart_are_those_of_one_where_they_are_shifted_alike():
    problem = prepare(zinc_blende(), COARSE)
    torch.manual_seed(0)
    shifts, scales = torch.randn(1, 6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    both = replace(problem, n_spins=2)
    single, double = (LinearBands.solve(p, shifts.expand(p.n_spins, 6), scales) for p in (problem, both))
    n_kpoints = len(problem.weights)
    for spin in (double.energies[:n_kpoints], double.energies[n_kpoints:]):
        assert spin.numpy() == pytest.approx(single.energies.numpy())
    assert float(both.state_weights.sum()) == pytest.approx(1)
    change = torch.tensor([[0.3], [-0.2]], dtype=torch.float64).expand(2, 6)
    (moved,) = double.at(change[None], scales[None]) - double.energies
    assert moved[:n_kpoints].numpy() == pytest.approx(0.3)
    assert moved[n_kpoints:].numpy() == pytest.approx(-0.2)


@pytest.mark.parametrize(("spin", "metal", "n_spins"), [(True, "Fe", 2), (True, "Mg", 1), (False, "Fe", 1)])
def test_only_crystals_that_can_be_magnetic_have_two_spins(spin, metal, n_spins):
    settings = PreparationSettings(kpoints_per_atom=20, self_consistent=False, spin=spin)
    assert prepare(rock_salt(4.2, (metal, "O")), settings).n_spins == n_spins


def test_single_precision_is_good_enough():
    cell = zinc_blende()
    double = prepare(cell, COARSE)
    single = prepare(cell, PreparationSettings(kpoints_per_atom=20, dtype=torch.complex64))
    zero = torch.zeros(6)
    energies = [corrected_bands(problem, zero[None], zero)[0].double() for problem in (double, single)]
    inside = energies[0].abs() < 25
    assert float((energies[0] - energies[1])[inside].abs().max()) < 2e-4


def test_nearly_dependent_orbitals_are_noted():
    crushed = as_given(np.eye(3) * 1.6, [[0, 0, 0], [0.5, 0.5, 0.5]], [55, 55])
    problem = prepare(crushed, COARSE)
    energies, _ = corrected_bands(problem, torch.zeros(1, 6), torch.zeros(6))
    assert torch.isfinite(energies).all()
    assert any("removed from the basis" in note for note in problem.notes)


def test_small_changes_of_the_corrections_are_first_order():
    problem = prepare(zinc_blende(), COARSE)
    torch.manual_seed(1)
    shifts, scales = torch.randn(1, 6, dtype=torch.float64), 0.1 * torch.randn(6, dtype=torch.float64)
    bands = LinearBands.solve(problem, shifts, scales)
    change = 0.02 * torch.randn(1, 6, dtype=torch.float64), 0.002 * torch.randn(6, dtype=torch.float64)
    exact, _ = corrected_bands(problem, shifts + change[0], scales + change[1])
    # Degenerate bands are split only by the next order.
    (changed,) = bands.at(*(each[None] for each in change))
    assert float((changed.sort(dim=1).values - exact).abs().mean()) < 2e-3
    assert float((bands.energies - exact).abs().mean()) > 5e-3


def test_energies_in_single_precision_are_better_than_those_of_the_solver():
    single = prepare(primitive(low_symmetry()), replace(COARSE, dtype=torch.complex64))
    torch.manual_seed(0)
    shifts, scales = 0.5 * torch.randn(1, 12), 0.1 * torch.randn(12)
    overlap = single.overlap.to(torch.complex128)
    exact = solve(single.hamiltonian(shifts[0], scales).to(torch.complex128), orthogonalise(overlap)).energies
    found = LinearBands.solve(single, shifts, scales).energies
    of_solver = solve(single.hamiltonian(shifts[0], scales), single.orthogonaliser).energies
    near = exact < 10
    errors = [float((energies - exact)[near].square().mean().sqrt()) for energies in (found, of_solver)]
    assert errors[0] < 1e-6
    assert errors[0] < errors[1] / 2


def test_edges_of_a_gap_are_as_exact_as_the_matrices():
    single = prepare(rock_salt(5.64, ("Na", "Cl")), replace(COARSE, dtype=torch.complex64))
    torch.manual_seed(0)
    shifts, scales = 0.5 * torch.randn(1, 6), 0.1 * torch.randn(6)
    double = replace(
        single,
        overlap=single.overlap.to(torch.complex128),
        hopping=single.hopping.to(torch.complex128),
        orthogonaliser=orthogonalise(single.overlap.to(torch.complex128)),
        **{name: getattr(single, name).double() for name in ("on_site_ev", "potentials_ev", "site_shells", "weights")},
    )
    n_filled = single.n_electrons // 2
    edges = []
    for problem in (single, double):
        energies = LinearBands.solve(problem, shifts, scales).energies
        edges.append(torch.stack([energies[:, n_filled - 1].max(), energies[:, n_filled].min()]))
    assert float(edges[1].diff()) > 2
    assert float((edges[0] - edges[1]).abs().max()) < 1e-8


@pytest.mark.parametrize("angle", [0.3, 1.2])
def test_states_of_one_energy_have_one_derivative_however_the_solver_combines_them(angle):
    generator = torch.Generator().manual_seed(0)
    change = torch.randn(3, 3, dtype=torch.float64, generator=generator)
    change = change + change.T
    turn = torch.eye(3, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    energies = torch.tensor([[1.0, 1.0 + 1e-9, 2.0]], dtype=torch.float64)
    plain, turned = (
        shared_by_close_bands(energies, (states.T @ change @ states).diagonal()[None, :, None])[0]
        for states in (torch.eye(3, dtype=torch.float64), turn)
    )
    assert turned.numpy() == pytest.approx(plain.numpy(), abs=1e-9)
    assert plain[0, :, 0].numpy() == pytest.approx(
        [float(change[:2, :2].diagonal().mean())] * 2 + [float(change[2, 2])]
    )
