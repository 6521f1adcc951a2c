import numpy as np
import pytest

from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.charges import COULOMB_EV_A, coulomb_matrix, self_consistent_charges
from tests.mat2spec.tight_binding.conftest import as_given, rock_salt, solid


def test_point_charges_give_the_madelung_constant_of_rock_salt():
    cell = rock_salt()
    # Charges as sharp as these do not overlap; their self-energy is subtracted.
    hardness = np.full(2, 60.0)
    charges = np.array([1.0, -1.0])
    energy = charges @ coulomb_matrix(cell, hardness) @ charges / 2 - hardness.sum() / 2
    nearest = 5.69 / 2
    assert -energy * nearest / COULOMB_EV_A == pytest.approx(1.747565, abs=1e-4)


def test_the_coulomb_matrix_does_not_depend_on_the_cell():
    cell = rock_salt()
    doubled = as_given(
        cell.lattice * np.array([[2], [1], [1]]),
        np.concatenate([cell.frac_coords * [0.5, 1, 1], cell.frac_coords * [0.5, 1, 1] + [0.5, 0, 0]]),
        np.tile(cell.atomic_numbers, 2),
    )
    charges = np.array([0.7, -0.7])
    once = coulomb_matrix(cell, np.array([8.0, 12.0])) @ charges
    twice = coulomb_matrix(doubled, np.tile([8.0, 12.0], 2)) @ np.tile(charges, 2)
    assert twice == pytest.approx(np.tile(once, 2), abs=1e-3)


def test_electrons_go_from_sodium_to_chlorine():
    crystal = TightBindingCrystal.of(rock_salt())
    result = self_consistent_charges(crystal)
    assert result.converged
    gained = dict(zip(crystal.cell.atomic_numbers.tolist(), result.charges, strict=True))
    assert gained[17] > 0.1
    assert result.charges.sum() == pytest.approx(0, abs=1e-2)


def test_an_element_has_no_charges():
    crystal = TightBindingCrystal.of(solid("Fd-3m", 5.47, ["Si"], [[0, 0, 0]]))
    result = self_consistent_charges(crystal)
    assert result.charges == pytest.approx([0, 0], abs=5e-3)
