"""Crystals in the forms that users have in Python."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from pymatgen.core import IStructure, Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from mat2spec.crystals.given import crystals_given


@pytest.fixture
def salt():
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_one_structure_is_one_crystal_in_every_form(salt):
    for given in (salt, [salt], IStructure.from_sites(salt.sites), AseAtomsAdaptor.get_atoms(salt), (salt,)):
        crystals, _ = crystals_given(given)
        assert crystals.material_ids.tolist() == ["crystal-0"]
        np.testing.assert_array_equal(crystals.atomic_numbers, salt.atomic_numbers)
        np.testing.assert_allclose(crystals.frac_coords, salt.frac_coords, atol=1e-12)
        np.testing.assert_allclose(crystals.lattices[0], salt.lattice.matrix)


def test_what_is_not_a_crystal_becomes_a_row_with_its_reason(salt):
    mixed = Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
    crystals, _ = crystals_given([salt, mixed, molecule("H2O"), "NaCl.cif", None, bulk("Cu")], list("abcdef"))
    assert crystals.material_ids.tolist() == list("abcdef")
    assert crystals.n_sites.tolist() == [8, 0, 0, 0, 0, 1]
    problems = crystals.problems
    assert problems[0] is problems[5] is None
    assert "partial occupancies" in problems[1]
    assert "not periodic" in problems[2]
    assert "type str is not a crystal" in problems[3]
    assert problems[3].endswith("Read a file with Structure.from_file(NAME).")


def test_names_must_be_as_many_as_crystals(salt):
    with pytest.raises(ValueError, match="2 material_ids were given for 1"):
        crystals_given(salt, ["a", "b"])
