import numpy as np
import pytest
from pymatgen.core import Structure
from scipy.spatial.transform import Rotation

from mat2spec.crystals.primitive_cell import PrimitiveCell
from tests.mat2spec.tight_binding.conftest import low_symmetry, primitive, rock_salt


def test_a_supercell_is_reduced_to_its_primitive_cell():
    cell = rock_salt()
    structure = Structure(cell.lattice, cell.atomic_numbers, cell.frac_coords)
    reduced = primitive(structure.make_supercell([2, 2, 3], in_place=False))
    assert reduced.n_atoms == 2
    assert reduced.volume == pytest.approx(cell.volume)
    assert len(reduced.rotations) == len(cell.rotations) == 48


def test_rotations_map_the_lattice_onto_itself():
    cell = primitive(
        Structure.from_spacegroup("I4/mmm", [[3.9, 0, 0], [0, 3.9, 0], [0, 0, 13.2]], ["La"], [[0, 0, 0.36]])
    )
    metric = cell.lattice @ cell.lattice.T
    for rotation in cell.rotations:
        assert rotation.T @ metric @ rotation == pytest.approx(metric, abs=1e-8)


def test_the_same_crystal_turned_and_shifted_has_the_same_cell():
    structure = low_symmetry()
    rotation = Rotation.random(random_state=1).as_matrix()
    numbers = np.array(structure.atomic_numbers)
    turned = PrimitiveCell.of(structure.lattice.matrix @ rotation.T, structure.frac_coords + 0.123, numbers)
    straight = primitive(structure)
    assert turned.lattice @ turned.lattice.T == pytest.approx(straight.lattice @ straight.lattice.T, abs=1e-8)


def test_values_of_equivalent_atoms_are_averaged():
    diamond = primitive(Structure.from_spacegroup("Fd-3m", np.eye(3) * 5.43, ["Si"], [[0, 0, 0]]))
    assert diamond.n_atoms == 2
    assert diamond.average_equivalent(np.array([[1.0, 4.0], [3.0, 0.0]])) == pytest.approx(np.array([[2, 2], [2, 2]]))
    salt = rock_salt()
    assert salt.average_equivalent(np.array([1.0, 3.0])) == pytest.approx([1, 3])


def test_atoms_in_one_place_are_kept_as_they_are():
    cell = PrimitiveCell.of(np.eye(3) * 3.0, np.zeros((2, 3)), np.array([1, 1]))
    assert cell.n_atoms == 2
    assert len(cell.rotations) == 1
