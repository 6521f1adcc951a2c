"""Gaps, energy zero and spectra from bands on a mesh."""

import numpy as np
import pytest

from dft_validation.bands.mesh import MeshBands, covered_to_ev, edos_of_bands, find_band_edges, tetrahedron_efermi
from mat2spec.spectra.grids import EDOS_GRID


def two_bands(gap, n_electrons=2.0, n_spins=1, efermi=0.0):
    """A flat valence band at -1 eV and a flat conduction band a gap above it."""
    energies = np.tile(np.array([-1.0, -1.0 + gap]), (n_spins, 8, 1))
    return MeshBands(energies, np.arange(8), (2, 2, 2), 3 * np.eye(3), efermi, n_electrons)


def test_a_filled_band_below_an_empty_one_is_a_gap():
    edges = find_band_edges(two_bands(1.5, efermi=-0.5), gap_tolerance_ev=0.05)
    assert (edges.vbm, edges.cbm, edges.band_gap, edges.is_metal) == (-1.0, 0.5, 1.5, False)


@pytest.mark.parametrize(("gap", "n_electrons"), [(0.04, 2.0), (1.5, 1.0), (1.5, 4.0)])
def test_small_gaps_odd_electrons_and_missing_empty_bands_are_metals(gap, n_electrons):
    edges = find_band_edges(two_bands(gap, n_electrons), gap_tolerance_ev=0.05)
    assert edges.is_metal
    assert edges.band_gap == 0.0


def test_spin_channels_with_different_fillings_can_have_a_gap():
    energies = np.stack([np.tile([-2.0, -1.0, 2.0], (8, 1)), np.tile([-1.5, 1.0, 3.0], (8, 1))])
    bands = MeshBands(energies, np.arange(8), (2, 2, 2), 3 * np.eye(3), 0.0, 3.0)
    edges = find_band_edges(bands, 0.05)
    assert (edges.vbm, edges.cbm) == (-1.0, 1.0)
    crossing = energies.copy()
    crossing[1, 0, 1] = -1.2
    crossed = MeshBands(crossing, np.arange(8), (2, 2, 2), 3 * np.eye(3), 0.0, 3.0)
    assert find_band_edges(crossed, 0.05).is_metal


@pytest.mark.parametrize("efermi", [-1.9, -1.2, -0.5, 1.05, 1.8])
def test_electrons_decide_on_the_gap_wherever_the_program_put_the_fermi_energy(efermi):
    k = np.linspace(0, 1, 8)[:, None]
    energies = np.stack([np.hstack([k - 2.0, k + 1.0]), np.hstack([k - 2.5, k + 1.5])])
    edges = find_band_edges(MeshBands(energies, np.arange(8), (2, 2, 2), 3 * np.eye(3), efermi, 2.0), 0.05)
    assert (edges.vbm, edges.cbm) == (-1.0, 1.0)


def test_two_equal_spin_channels_give_the_unpolarised_spectrum():
    once, twice = two_bands(2.0), two_bands(2.0, n_spins=2)
    np.testing.assert_allclose(edos_of_bands(twice, -1.0, 1), edos_of_bands(once, -1.0, 1))
    assert EDOS_GRID.integrate(edos_of_bands(once, -1.0, 1)) == pytest.approx(4.0)


def test_covered_is_the_lowest_energy_of_the_last_band():
    energies = np.array([[[-1.0, 3.0], [-1.0, 5.0]]])
    bands = MeshBands(energies, np.array([0, 1]), (2, 1, 1), 3 * np.eye(3), 0.0, 2.0)
    assert covered_to_ev(bands, zero_ev=-1.0) == pytest.approx(4.0)
    assert bands.without_last(1).n_bands == 1


def test_bands_that_do_not_fit_their_mesh_are_refused():
    with pytest.raises(ValueError, match="has 8 points, but 7 are mapped"):
        MeshBands(np.zeros((1, 8, 2)), np.arange(7), (2, 2, 2), np.eye(3), 0.0, 2.0)
    with pytest.raises(ValueError, match="without energies"):
        MeshBands(np.zeros((1, 7, 2)), np.arange(8), (2, 2, 2), np.eye(3), 0.0, 2.0)
    with pytest.raises(ValueError, match="not finite"):
        MeshBands(np.full((1, 8, 2), np.nan), np.arange(8), (2, 2, 2), np.eye(3), 0.0, 2.0)


@pytest.mark.parametrize("n_spins", [1, 2])
def test_the_fermi_energy_of_tetrahedra_holds_the_electrons_whatever_the_engine_says(n_spins):
    # A half-filled cosine band around 0.3 eV: half its states lie below its middle, by symmetry.
    n = 8
    k = 2 * np.pi * np.arange(n) / n
    cosines = np.cos(k)[:, None, None] + np.cos(k)[:, None] + np.cos(k)
    energies = np.tile(0.3 - 0.5 * cosines.reshape(1, -1, 1), (n_spins, 1, 1))
    bands = MeshBands(energies, np.arange(n**3), (n, n, n), 3 * np.eye(3), efermi=0.55, n_electrons=1.0)
    zero = tetrahedron_efermi(bands, 3)
    assert zero == pytest.approx(0.3, abs=0.01)
    below = edos_of_bands(bands, zero, 3)[EDOS_GRID.edges[1:] <= 1e-9]
    assert below.sum() * EDOS_GRID.width == pytest.approx(1.0, abs=0.05)
    far = MeshBands(energies, np.arange(n**3), (n, n, n), 3 * np.eye(3), efermi=9.0, n_electrons=1.0)
    with pytest.raises(ValueError, match=r"no energy within 2 eV of 9\.00 eV"):
        tetrahedron_efermi(far, 1)
