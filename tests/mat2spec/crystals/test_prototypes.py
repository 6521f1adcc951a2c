import numpy as np
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.prototypes import prototypes
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt, rock_salt_primitive


def names(*structures):
    return prototypes(Crystals.from_structures(list(structures))).tolist()


def test_stoichiometry_and_space_group():
    assert names(rock_salt(), perovskite(), low_symmetry()) == ["AB_225", "ABC3_221", "ABCD_1"]
    assert names(perovskite(elements=("Ba", "Ti", "O"))) == ["ABC3_221"]


def test_cell_origin_order_and_rotation_do_not_matter():
    supercell = perovskite()
    supercell.make_supercell([2, 1, 1])
    moved = perovskite().translate_sites(range(5), [0.1, 0.2, 0.3])
    reordered = Structure.from_sites(list(perovskite())[::-1])
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = Structure(perovskite().lattice.matrix @ turn, perovskite().species, perovskite().frac_coords)
    assert set(names(supercell, moved, reordered, turned)) == {"ABC3_221"}
    assert names(rock_salt_primitive()) == names(rock_salt())


def test_atoms_in_one_place_have_no_space_group():
    assert names(Structure(Lattice.cubic(3), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0]])) == ["AB_0"]


def test_no_crystals_have_no_prototypes():
    assert len(prototypes(Crystals.from_structures([perovskite()]).take([]))) == 0
