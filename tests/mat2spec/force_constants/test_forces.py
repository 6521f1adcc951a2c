"""Forces are those of the packaged potential, and the gradient of its energy."""

import numpy as np
import pytest
import torch
from phonopy.structure.atoms import PhonopyAtoms
from sevenn.calculator import SevenNetCalculator

from mat2spec.descriptors.kinds import SevenNetVersion
from mat2spec.force_constants.forces import potential_forces
from tests.mat2spec.conftest import low_symmetry, perovskite


def displaced_cell(structure, shift=0.0):
    positions = structure.cart_coords + np.random.default_rng(0).normal(scale=0.05, size=(len(structure), 3))
    positions[0, 0] += shift
    return PhonopyAtoms(numbers=structure.atomic_numbers, cell=structure.lattice.matrix, positions=positions)


@pytest.mark.parametrize("version", list(SevenNetVersion))
def test_forces_are_those_of_the_packaged_calculator(version):
    cell = displaced_cell(perovskite() * (2, 1, 1))
    atoms = structure_of(cell)
    atoms.calc = SevenNetCalculator(str(version), device="cpu")
    expected = atoms.get_forces()
    assert np.abs(expected).max() > 0.1
    assert potential_forces(version).of(cell) == pytest.approx(expected, abs=2e-5)


def test_forces_are_the_gradient_of_the_energy():
    forces = potential_forces(SevenNetVersion.L3I5)
    energies = []
    for shift in (-0.01, 0.01):
        atoms = structure_of(displaced_cell(low_symmetry(), shift))
        atoms.calc = SevenNetCalculator(str(SevenNetVersion.L3I5), device="cpu")
        energies.append(atoms.get_potential_energy())
    gradient = (energies[1] - energies[0]) / 0.02
    assert forces.of(displaced_cell(low_symmetry()))[0, 0] == pytest.approx(-gradient, abs=0.01)


def test_a_force_that_is_not_finite_is_refused(monkeypatch):
    forces = potential_forces(SevenNetVersion.L3I5)
    cell = displaced_cell(perovskite())
    forces.of(cell)
    broken = torch.full((len(cell), 3), torch.nan).numpy()
    monkeypatch.setattr(type(forces._own.calculator), "get_forces", lambda *_, **__: broken)
    with pytest.raises(ValueError, match="not finite"):
        forces.of(cell)


def structure_of(cell):
    from ase import Atoms

    return Atoms(numbers=cell.numbers, cell=cell.cell, scaled_positions=cell.scaled_positions, pbc=True)
