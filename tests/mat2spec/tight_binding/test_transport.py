import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation
from scipy.special import expit

from mat2spec.spectra.constants import BOLTZMANN_EV_PER_K, HBAR2_OVER_MASS_EV_A2
from mat2spec.tight_binding.charges import COULOMB_EV_A
from mat2spec.tight_binding.fine_mesh import coarse_mesh, fine_points
from mat2spec.tight_binding.transport import (
    BandTransport,
    TransportDistribution,
)
from tests.mat2spec.tight_binding.one_orbital import one_orbital

A = 3.0
KT = 300 * BOLTZMANN_EV_PER_K


def band_mass(hopping_ev, a=A):
    """At the bottom of a cubic band, hbar² / (2 t a²)."""
    return HBAR2_OVER_MASS_EV_A2 / (2 * hopping_ev * a**2)


def distribution_above_the_bottom(hopping_ev, low_ev, high_ev, spacing=0.02):
    crystal = one_orbital(np.eye(3) * A, [[-hopping_ev] * 3])
    bottom = -6 * hopping_ev
    windows = np.array([[bottom + low_ev, bottom + high_ev]])
    mesh = coarse_mesh(crystal.cell, 1)
    points = fine_points(crystal.cell, mesh, crystal.energies(mesh.kpoints)[0], windows, spacing)
    states = crystal.states(points.kpoints, windows)
    return TransportDistribution.of(states, points, crystal.cell, 2, windows), bottom


def parabolic(carriers_a3, mass):
    """Seebeck coefficient in microvolt per kelvin of electrons in a parabolic band at a constant relaxation time."""

    def integral(power, eta):
        return quad(lambda x: x**power * expit(eta - x), 0, 60 + max(eta, 0))[0]

    states = (2 * mass * KT / HBAR2_OVER_MASS_EV_A2) ** 1.5 / (2 * np.pi**2)
    eta = brentq(lambda eta: states * integral(0.5, eta) - carriers_a3, -15, 15)
    return -1e6 * BOLTZMANN_EV_PER_K * (5 / 3 * integral(1.5, eta) / integral(0.5, eta) - eta)


def test_a_slightly_filled_band_is_that_of_free_electrons():
    hopping, depth = 4.0, 0.5
    distribution, bottom = distribution_above_the_bottom(hopping, -0.1, depth + 0.4)
    found = distribution.at(bottom + depth)
    # Mott: pi² k² T / (2 e E_F), negative for electrons.
    mott = -1e6 * np.pi**2 * BOLTZMANN_EV_PER_K * KT / (2 * depth)
    assert found.mean_seebeck_uv_per_k == pytest.approx(mott, rel=0.03)
    assert found.seebeck_uv_per_k == pytest.approx(np.eye(3) * found.mean_seebeck_uv_per_k, abs=1e-9)
    mass = band_mass(hopping)
    carriers = (2 * mass * depth / HBAR2_OVER_MASS_EV_A2) ** 1.5 / (3 * np.pi**2)
    assert found.mass(carriers * 1e24) == pytest.approx(mass, rel=0.03)
    plasma = np.sqrt(4 * np.pi * COULOMB_EV_A * carriers * HBAR2_OVER_MASS_EV_A2 / mass)
    assert found.plasma_energy_ev == pytest.approx(plasma, rel=0.02)


@pytest.fixture(scope="module")
def semiconductor():
    """A full and an empty cubic band, whose edges have masses of 0.85 and 0.42."""
    return BandTransport.of_crystal(one_orbital(np.eye(3) * A, [[-0.5] * 3, [-1.0] * 3], [0.0, 12.0], n_electrons=2))


def test_a_doped_semiconductor_has_the_masses_of_its_edges_and_the_seebeck_coefficient_of_parabolic_bands(
    semiconductor,
):
    assert not semiconductor.filling.is_metal
    assert semiconductor.metallic() is None
    assert semiconductor.free_carriers_per_cm3() is None
    for carriers, mass in ((1e19, band_mass(1.0)), (-1e19, band_mass(0.5))):
        found = semiconductor.doped(carriers)
        assert found.mass == pytest.approx(mass, rel=0.05)
        expected = parabolic(1e-5, mass) * np.sign(carriers)
        assert found.coefficients.mean_seebeck_uv_per_k == pytest.approx(expected, rel=0.03)


def test_carriers_beyond_the_window_have_no_answer(semiconductor):
    assert semiconductor.doped(1e23) is None


def test_masses_of_different_directions_are_averaged_inversely():
    crystal = one_orbital(np.diag([A, A, 4.0]), [[-1, -1, -0.3], [-1, -1, -0.3]], [0.0, 12.0], n_electrons=2)
    found = BandTransport.of_crystal(crystal).doped(1e19)
    across, along = band_mass(1.0), band_mass(0.3, 4.0)
    assert found.mass == pytest.approx(3 / (2 / across + 1 / along), rel=0.05)
    own = np.linalg.eigvalsh(found.coefficients.conductivity)
    assert own[0] / own[-1] == pytest.approx(across / along, rel=0.05)
    # The Seebeck coefficient of one parabolic band is the same in all directions.
    assert found.coefficients.seebeck_uv_per_k == pytest.approx(
        np.eye(3) * found.coefficients.mean_seebeck_uv_per_k, rel=0.03, abs=1e-6
    )


def test_tensors_turn_with_the_crystal_and_do_not_depend_on_its_cell():
    hoppings = [-1.0, -0.6, -0.3]
    lattice = np.diag([3.0, 3.4, 4.0])
    one = BandTransport.of_crystal(one_orbital(lattice, [hoppings])).metallic()
    rotation = Rotation.random(random_state=2).as_matrix()
    turned = BandTransport.of_crystal(one_orbital(lattice @ rotation.T, [hoppings])).metallic()
    assert turned.conductivity == pytest.approx(rotation @ one.conductivity @ rotation.T, abs=1e-6)
    assert turned.seebeck_uv_per_k == pytest.approx(rotation @ one.seebeck_uv_per_k @ rotation.T, abs=1e-3)
    # Twice the cell along the first axis.
    x, y, z = np.eye(3, dtype=int)
    pairs = [(0, 1, 0 * x), (0, 1, -x), *[(atom, atom, along) for atom in (0, 1) for along in (y, z)]]
    larger, hoppings = lattice * [[2], [1], [1]], [hoppings[0]] * 2 + hoppings[1:] * 2
    doubled = one_orbital(larger, hoppings, [0.0, 0.0], pairs, n_electrons=2, sites=[[0, 0, 0], [0.5, 0, 0]])
    same = BandTransport.of_crystal(doubled).metallic()
    assert same.conductivity == pytest.approx(one.conductivity, rel=0.02, abs=1e-6)
    assert same.mean_seebeck_uv_per_k == pytest.approx(one.mean_seebeck_uv_per_k, rel=0.05, abs=0.3)


def test_a_gapped_metal_has_the_carriers_between_its_gap_and_the_fermi_level():
    crystal = one_orbital(np.eye(3) * A, [[-0.5] * 3, [-0.5] * 3], [0.0, 12.0], n_electrons=3)
    found = BandTransport.of_crystal(crystal)
    assert found.filling.is_metal
    assert abs(found.free_carriers_per_cm3()) == pytest.approx(1e24 / A**3)


def test_a_direction_that_does_not_conduct_has_no_seebeck_coefficient():
    found = BandTransport.of_crystal(one_orbital(np.diag([A, A, 4.0]), [[-0.5, -0.5, 0.0]])).metallic()
    assert np.isnan(found.mean_seebeck_uv_per_k)
    assert found.plasma_energy_ev > 0
