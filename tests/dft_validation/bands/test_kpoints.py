"""Listed k-points go back to their full mesh, or are refused."""

import numpy as np
import pytest
import spglib
from pymatgen.core import Lattice, Structure

from dft_validation.bands.kpoints import find_mesh, map_mesh, reciprocal_rotations
from mat2spec.crystals.cell import cell_of

SILICON = Structure(
    Lattice([[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]]), ["Si", "Si"], [[0, 0, 0], [0.25, 0.25, 0.25]]
)
TITANIUM = Structure(Lattice.hexagonal(2.95, 4.69), ["Ti", "Ti"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
SULFIDE = Structure(Lattice.from_parameters(4, 5, 6, 80, 95, 101), ["Fe", "S"], [[0, 0, 0], [0.4, 0.3, 0.6]])


def irreducible(cell, mesh):
    """The points and weights that a program would list, found in another way than by the code under test."""
    mapping, addresses = spglib.get_ir_reciprocal_mesh(mesh, cell.as_tuple(), symprec=1e-4)
    points, counts = np.unique(mapping, return_counts=True)
    return addresses[points] / np.array(mesh), counts / counts.sum()


def wave(kpoints, lattice):
    """A function of k with the symmetry of the lattice: distances to the nearest reciprocal-lattice points, squared."""
    reciprocal = np.linalg.inv(lattice).T
    shifts = np.array(list(np.ndindex(5, 5, 5))) - 2
    distances = np.linalg.norm((kpoints[:, None] + shifts) @ reciprocal, axis=2)
    return np.sort(distances, axis=1)[:, :4].sum(axis=1)


@pytest.mark.parametrize(
    ("structure", "mesh"), [(SILICON, (4, 4, 4)), (SILICON, (5, 5, 5)), (TITANIUM, (6, 6, 4)), (SULFIDE, (3, 4, 2))]
)
def test_every_point_of_the_mesh_finds_an_equivalent_one(structure, mesh):
    cell = cell_of(structure)
    kpoints, weights = irreducible(cell, mesh)
    rotations = reciprocal_rotations(cell)
    assert find_mesh(kpoints, rotations) == mesh
    owner = map_mesh(kpoints, weights, mesh, rotations)
    full = np.array(list(np.ndindex(*mesh))) / np.array(mesh)
    np.testing.assert_allclose(wave(kpoints, cell.lattice)[owner], wave(full, cell.lattice), atol=1e-9)


def test_an_unreduced_list_is_kept_point_by_point():
    mesh = (3, 3, 3)
    full = np.array(list(np.ndindex(*mesh))) / 3
    owner = map_mesh(full, np.full(27, 1 / 27), mesh, reciprocal_rotations(cell_of(SILICON)))
    np.testing.assert_array_equal(owner, np.arange(27))


def test_shifted_meshes_missing_points_and_wrong_weights_are_refused():
    cell = cell_of(SILICON)
    rotations = reciprocal_rotations(cell)
    kpoints, weights = irreducible(cell, (4, 4, 4))
    with pytest.raises(ValueError, match="do not lie on"):
        map_mesh(kpoints + 0.125, weights, (4, 4, 4), rotations)
    with pytest.raises(ValueError, match="of the 64 points"):
        map_mesh(kpoints[:-1], weights[:-1], (4, 4, 4), rotations)
    with pytest.raises(ValueError, match="weights"):
        map_mesh(kpoints, np.roll(weights, 1), (4, 4, 4), rotations)
    with pytest.raises(ValueError, match="do not lie on a Gamma-centred mesh"):
        find_mesh(np.array([[0, 0, 0], [0.0123, 0, 0], [0.0377, 0, 0]]), rotations)
