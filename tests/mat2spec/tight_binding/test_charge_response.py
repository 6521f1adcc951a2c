import numpy as np
import pytest
import torch

from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.charge_response import FilledBands
from mat2spec.tight_binding.eigenproblem import orthogonalise
from mat2spec.tight_binding.kmesh import make_mesh
from mat2spec.tight_binding.real_basis import RealBasis
from tests.mat2spec.tight_binding.conftest import rock_salt, solid


def perovskite(metal, oxygen_like):
    """Five atoms on three orbits; a metal if electrons are missing."""
    return solid("Pm-3m", 3.9, ["Sr", metal, oxygen_like], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]])


def bands_in(crystal, potentials):
    mesh = make_mesh(crystal.cell, 40)
    overlap, hopping = RealBasis(crystal, equal_orbits=True, dtype=torch.float64).matrices(mesh.kpoints)
    basis = crystal.basis
    shift = torch.from_numpy(potentials[basis.atom])
    hamiltonian = hopping + torch.diag(torch.from_numpy(basis.on_site_ev)) + overlap * (shift[:, None] + shift) / 2
    weights = torch.from_numpy(mesh.weights)
    orthogonaliser = orthogonalise(overlap)
    solved = orthogonaliser.eigh(orthogonaliser.reduced(hamiltonian))
    return FilledBands(crystal, weights, orthogonaliser, *solved)


@pytest.mark.parametrize("cell", [rock_salt(), perovskite("Ti", "O"), perovskite("V", "O")])
def test_the_response_is_the_derivative_of_the_charges(cell):
    crystal = TightBindingCrystal.of(cell)
    start = 0.3 * np.sin(cell.equivalent_atoms)
    response = bands_in(crystal, start).response()
    for orbit in np.unique(cell.equivalent_atoms):
        step = 1e-3 * (cell.equivalent_atoms == orbit)
        change = bands_in(crystal, start + step).charges() - bands_in(crystal, start - step).charges()
        assert response @ step == pytest.approx(change / 2, abs=1e-6)


def test_a_common_potential_moves_no_electrons():
    crystal = TightBindingCrystal.of(perovskite("V", "O"))
    assert bands_in(crystal, np.zeros(5)).response().sum(axis=1) == pytest.approx(0, abs=1e-6)
