import numpy as np
import pytest
import scipy.linalg
from pymatgen.core import Structure

from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.kmesh import choose_divisions, make_mesh, reduce_mesh
from tests.mat2spec.tight_binding.conftest import low_symmetry, primitive, rock_salt, zinc_blende

TETRAGONAL = Structure.from_spacegroup("I4/mmm", [[3.9, 0, 0], [0, 3.9, 0], [0, 0, 13.2]], ["La"], [[0, 0, 0.36]])


@pytest.mark.parametrize("cell", [rock_salt(), zinc_blende(), primitive(TETRAGONAL), primitive(low_symmetry())])
def test_an_irreducible_mesh_stands_for_the_full_one(cell):
    mesh = make_mesh(cell, 60)
    full = reduce_mesh(mesh.divisions, np.eye(3, dtype=int)[None])
    assert mesh.weights.sum() == pytest.approx(1)
    assert len(mesh.irreducible_of) == mesh.divisions.prod() >= 60 / cell.n_atoms
    crystal = TightBindingCrystal.of(cell)
    sums = []
    for points in (mesh, full):
        overlap, hopping = crystal.matrices(points.kpoints)
        hamiltonian = hopping + np.diag(crystal.basis.on_site_ev)
        levels = [scipy.linalg.eigh(h, s, eigvals_only=True) for h, s in zip(hamiltonian, overlap, strict=True)]
        sums.append(points.weights @ np.array(levels))
    assert sums[0] == pytest.approx(sums[1], abs=1e-8)


def test_symmetry_reduces_a_cubic_mesh_most():
    assert len(make_mesh(rock_salt(), 1000).kpoints) < 1000 / 2 / 15


def test_axes_that_are_mixed_by_symmetry_are_divided_alike():
    divisions = choose_divisions(primitive(TETRAGONAL), 400)
    assert len(set(divisions.tolist())) == 1


def test_long_axes_get_fewer_points():
    layered = primitive(Structure(np.diag([3.0, 3.0, 18.0]), ["C"], [[0, 0, 0]]))
    assert min(choose_divisions(layered, 200).tolist()) == 2
    assert choose_divisions(layered, 1).tolist() == [1, 1, 1]
