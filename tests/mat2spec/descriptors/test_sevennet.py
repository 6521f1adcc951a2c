import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.kinds import SevenNetVersion
from mat2spec.descriptors.sevennet import site_scalars, unknown_elements
from tests.mat2spec.tight_binding.conftest import as_given, low_symmetry, rock_salt

VERSION = SevenNetVersion.SEVENNET_0


def test_descriptors_do_not_turn_with_the_crystal():
    structure = low_symmetry()
    numbers = np.array(structure.atomic_numbers)
    rotation = Rotation.random(random_state=2).as_matrix()
    cells = [
        as_given(lattice, structure.frac_coords, numbers)
        for lattice in (structure.lattice.matrix, structure.lattice.matrix @ rotation.T)
    ]
    straight, turned = site_scalars(cells, VERSION)
    assert straight.shape == (4, VERSION.width)
    assert turned == pytest.approx(straight, abs=2e-4)


def test_companions_in_a_batch_change_nothing():
    structure = low_symmetry()
    odd = PrimitiveCell.of(structure.lattice.matrix, structure.frac_coords, np.array(structure.atomic_numbers))
    alone = site_scalars([rock_salt()], VERSION)[0]
    together = site_scalars([odd, rock_salt(), odd], VERSION)[1]
    assert together == pytest.approx(alone, abs=2e-5)


def test_elements_that_the_potential_does_not_know_are_named():
    assert unknown_elements(np.array([11, 17]), VERSION) == []
    assert unknown_elements(np.array([84, 86, 8]), VERSION) == [84, 86]
