import numpy as np
import pytest
import scipy.linalg
from pymatgen.core import Structure
from scipy.spatial.transform import Rotation

from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.parameters import ParametersError, load_tables
from tests.mat2spec.tight_binding.conftest import as_given, low_symmetry, rock_salt


def energies(cell, kpoints=((0.0, 0.0, 0.0),)):
    crystal = TightBindingCrystal.of(cell)
    overlap, hopping = crystal.matrices(np.array(kpoints))
    on_site = np.diag(crystal.basis.on_site_ev)
    return np.array(
        [scipy.linalg.eigh(h + on_site, s, eigvals_only=True) for s, h in zip(overlap, hopping, strict=True)]
    )


def test_an_atom_alone_in_a_box_keeps_its_levels():
    cell = as_given(np.eye(3) * 20, [[0, 0, 0]], [14])
    tables = load_tables()
    levels = tables.on_site_ev[tables.element_indices(np.array([14]))[0]]
    assert energies(cell)[0] == pytest.approx(np.sort(np.repeat(levels, [1, 3, 5])))


def test_a_hydrogen_molecule_splits_into_bonding_and_antibonding():
    cell = as_given(np.eye(3) * 20, [[0, 0, 0], [0, 0, 0.74 / 20]], [1, 1])
    tables = load_tables()
    row = tables.element_indices(np.array([1]))
    overlap, hopping = (values[0, 0] for values in tables.integrals(row, row, np.array([0.74])))
    level = tables.on_site_ev[row[0], 0]
    expected = [(level + hopping) / (1 + overlap), (level - hopping) / (1 - overlap)]
    assert energies(cell)[0] == pytest.approx(expected)
    assert expected[0] < level < expected[1]


def test_bands_do_not_turn_with_the_crystal():
    structure = low_symmetry()
    rotation = Rotation.random(random_state=5).as_matrix()
    numbers = np.array(structure.atomic_numbers)
    kpoints = [[0, 0, 0], [0.1, 0.3, -0.2]]
    straight = energies(as_given(structure.lattice.matrix, structure.frac_coords, numbers), kpoints)
    turned = energies(as_given(structure.lattice.matrix @ rotation.T, structure.frac_coords, numbers), kpoints)
    assert turned == pytest.approx(straight, abs=1e-9)


def test_bands_of_a_supercell_are_the_folded_bands():
    cell = rock_salt()
    structure = Structure(cell.lattice, cell.atomic_numbers, cell.frac_coords)
    doubled = structure.make_supercell([2, 1, 1], in_place=False)
    folded = energies(cell, [[0, 0, 0], [0.5, 0, 0]]).ravel()
    gamma = energies(as_given(doubled.lattice.matrix, doubled.frac_coords, np.array(doubled.atomic_numbers)))[0]
    assert gamma == pytest.approx(np.sort(folded), abs=1e-9)


def test_matrices_are_hermitian_and_real_at_gamma():
    structure = low_symmetry()
    crystal = TightBindingCrystal.of(
        as_given(structure.lattice.matrix, structure.frac_coords, np.array(structure.atomic_numbers))
    )
    for matrices in crystal.matrices(np.array([[0, 0, 0], [0.2, 0.1, 0.4]])):
        assert matrices == pytest.approx(matrices.conj().swapaxes(1, 2))
        assert np.abs(matrices[0].imag).max() == 0
    assert crystal.basis.n_electrons == 8 + 6 + 6 + 3


def test_an_unknown_element_is_named():
    with pytest.raises(ParametersError, match="atomic number 94"):
        TightBindingCrystal.of(as_given(np.eye(3) * 4, [[0, 0, 0]], [94]))
