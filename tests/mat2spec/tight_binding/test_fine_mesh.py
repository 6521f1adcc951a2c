import numpy as np
import pytest

from mat2spec.tight_binding import fine_mesh
from mat2spec.tight_binding.fine_mesh import coarse_mesh, fine_points, irreducible_points
from mat2spec.tight_binding.kmesh import reduce_mesh
from tests.mat2spec.tight_binding.conftest import low_symmetry, primitive, zinc_blende
from tests.mat2spec.tight_binding.one_orbital import one_orbital

EVERYTHING = np.array([[-np.inf, np.inf]])


@pytest.mark.parametrize("cell", [zinc_blende(), primitive(low_symmetry())])
def test_all_points_have_the_weights_of_the_reduced_mesh(cell):
    divisions = np.array([4, 4, 4])
    addresses = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    found, expected = irreducible_points(addresses, divisions, cell.rotations), reduce_mesh(divisions, cell.rotations)
    assert found.kpoints == pytest.approx(expected.kpoints)
    assert found.weights == pytest.approx(expected.weights)


def test_the_fine_mesh_misses_no_state_of_a_window(monkeypatch):
    monkeypatch.setattr(fine_mesh, "MOST_WORK", 1e12)
    crystal = one_orbital(np.eye(3) * 4, [[-0.4, -0.4, -0.4]])
    mesh = coarse_mesh(crystal.cell, 1)
    window = np.array([[-2.3, -2.0]])
    (energies,) = crystal.energies(mesh.kpoints)
    some = fine_points(crystal.cell, mesh, energies, window, 0.04)
    everything = fine_points(crystal.cell, mesh, energies, EVERYTHING, 0.04)
    assert everything.weights.sum() == pytest.approx(1)
    assert len(some.kpoints) < len(everything.kpoints) / 4
    states = [points.weights[crystal.states(points.kpoints, window).points].sum() for points in (some, everything)]
    assert states[0] == pytest.approx(states[1], rel=1e-12)


def test_a_mesh_that_costs_too_much_is_coarser(monkeypatch):
    cell = zinc_blende()
    whole = coarse_mesh(cell, 18)
    monkeypatch.setattr(fine_mesh, "MOST_WORK", 1e6)
    smaller = coarse_mesh(cell, 18)
    assert len(smaller.kpoints) * 30**3 <= 1e6 < len(whole.kpoints) * 30**3
    energies = np.zeros((len(smaller.kpoints), 18))
    assert (fine_points(cell, smaller, energies, EVERYTHING).divisions == smaller.divisions).all()
