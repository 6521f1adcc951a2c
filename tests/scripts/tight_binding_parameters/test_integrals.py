import numpy as np
import pytest

from mat2spec.tight_binding.channels import CHANNELS
from mat2spec.tight_binding.parameters import load_tables
from scripts.tight_binding_parameters.__main__ import make_tables
from scripts.tight_binding_parameters.atoms import RADII, BasisAtom
from scripts.tight_binding_parameters.integrals import two_centre_integrals


def hydrogen_like():
    """1s and 2p functions of exponent one in the bare Coulomb potential of a proton, without any confinement."""
    functions = np.zeros((3, len(RADII)))
    functions[0] = 2 * np.exp(-RADII)
    functions[1] = 2 / np.sqrt(3) * RADII * np.exp(-RADII)
    levels = np.array([-0.5, np.nan, np.nan])
    return BasisAtom(
        1,
        levels,
        np.array([-0.5, 0.0, np.nan]),
        functions,
        np.full(len(RADII), -1.0),
        np.zeros(len(RADII)),
        np.full(3, 1e9),
    )


@pytest.fixture(scope="module")
def integrals():
    distances = [1.5, 2.5, 4.0, 7.0]
    return np.array(distances), *two_centre_integrals([hydrogen_like()], distances, 56, superpose_densities=False)


def channel(*key):
    return CHANNELS.index(key)


def test_overlap_of_hydrogen_is_the_analytic_one(integrals):
    r, overlap, _ = integrals
    assert overlap[:, 0, 0, channel(0, 0, 0)] == pytest.approx(np.exp(-r) * (1 + r + r**2 / 3), abs=1e-6)


def test_hamiltonian_of_hydrogen_is_the_analytic_one(integrals):
    r, overlap, hamiltonian = integrals
    analytic = -overlap[:, 0, 0, 0] / 2 - np.exp(-r) * (1 + r)
    assert hamiltonian[:, 0, 0, channel(0, 0, 0)] == pytest.approx(analytic, abs=1e-6)


def test_overlaps_of_p_functions_are_the_analytic_ones(integrals):
    r, overlap, _ = integrals
    sigma = np.exp(-r) * (1 + r + r**2 / 5 - 2 * r**3 / 15 - r**4 / 15)
    pi = np.exp(-r) * (1 + r + 2 * r**2 / 5 + r**3 / 15)
    assert overlap[:, 0, 0, channel(1, 1, 0)] == pytest.approx(sigma, abs=1e-6)
    assert overlap[:, 0, 0, channel(1, 1, 1)] == pytest.approx(pi, abs=1e-6)


def test_shipped_tables_hold_what_the_script_computes():
    few, shipped = make_tables((8, 14, 31)), load_tables()
    rows = shipped.element_indices(few.atomic_numbers)
    for name, tolerance in (("overlap", 1e-3), ("hamiltonian_ev", 2e-2)):
        expected, stored = getattr(few, name), getattr(shipped, name)[:, rows][:, :, rows]
        assert np.abs(stored - expected).max() < tolerance
    assert shipped.cutoffs_a[np.ix_(rows, rows)] == pytest.approx(few.cutoffs_a)
