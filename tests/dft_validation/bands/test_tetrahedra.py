"""Density of states from bands: analytic cases and what must never change it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dft_validation.bands.tetrahedra import bin_average_dos, count_states, find_tetrahedra, interpolate_bands

CUBIC = 3.0 * np.eye(3)
SKEW = np.array([[3.0, 0.1, 0.0], [1.2, 3.4, 0.3], [0.4, 0.9, 4.1]])
# A flat piece of a band exactly on an edge may fall either side by rounding: no drawn energy lies on these edges.
OFF_EDGES = np.linspace(-8, 8, 65) + 0.0123456789
meshes = st.tuples(*[st.integers(1, 5)] * 3)
energies = st.floats(-6, 6, allow_nan=False, width=32)


@st.composite
def bands_on_mesh(draw):
    mesh = draw(meshes)
    return draw(arrays(np.float64, (*mesh, draw(st.integers(1, 4))), elements=energies))


def cosine_band(mesh, harmonics=1):
    """Tight-binding band on a simple cubic lattice, half width 3, shape (*mesh, 1)."""
    k = np.meshgrid(*[2 * np.pi * harmonics * np.arange(n) / n for n in mesh], indexing="ij")
    return -sum(np.cos(component) for component in k)[..., None]


@given(bands=bands_on_mesh(), factor=st.integers(1, 3))
@settings(max_examples=60)
def test_states_are_conserved_and_never_negative(bands, factor):
    # Interpolation overshoots: the edges must reach beyond it.
    edges = np.linspace(-200, 200, 401)
    dos = bin_average_dos(bands, SKEW, edges, factor)
    assert (dos >= 0).all()
    assert np.sum(dos * np.diff(edges)) == pytest.approx(bands.shape[-1], abs=1e-9)


@given(bands=bands_on_mesh(), shift=st.tuples(*[st.integers(0, 4)] * 3))
@settings(max_examples=40)
def test_a_shift_of_the_mesh_origin_changes_nothing(bands, shift):
    edges = OFF_EDGES
    moved = np.roll(bands, shift, axis=(0, 1, 2))
    np.testing.assert_allclose(
        bin_average_dos(moved, SKEW, edges, 2), bin_average_dos(bands, SKEW, edges, 2), atol=1e-7
    )


@given(bands=bands_on_mesh(), order=st.permutations(range(3)))
@settings(max_examples=40)
def test_renaming_the_lattice_vectors_changes_nothing(bands, order):
    edges = OFF_EDGES
    # Continuous N(E): the same whatever tetrahedron holds a corner, as long as the diagonal is the same.
    renamed = bin_average_dos(np.transpose(bands, (*order, 3)), SKEW[list(order)], edges, 2)
    np.testing.assert_allclose(renamed, bin_average_dos(bands, SKEW, edges, 2), atol=1e-7)


@given(bands=bands_on_mesh())
@settings(max_examples=30)
def test_the_order_of_bands_and_a_reversal_of_k_change_nothing(bands):
    edges = OFF_EDGES
    expected = bin_average_dos(bands, SKEW, edges, 1)
    np.testing.assert_allclose(bin_average_dos(bands[..., ::-1], SKEW, edges, 1), expected, atol=1e-9)
    reversed_k = np.roll(bands[::-1, ::-1, ::-1], (1, 1, 1), axis=(0, 1, 2))
    np.testing.assert_allclose(bin_average_dos(reversed_k, SKEW, edges, 1), expected, atol=1e-9)


@given(bands=bands_on_mesh())
@settings(max_examples=30)
def test_coarser_bins_hold_the_same_states(bands):
    fine = np.linspace(-7, 7, 57)
    dos_fine = bin_average_dos(bands, SKEW, fine, 1)
    dos_coarse = bin_average_dos(bands, SKEW, fine[::4], 1)
    np.testing.assert_allclose(dos_fine.reshape(-1, 4).mean(axis=1), dos_coarse, atol=1e-9)


def test_a_flat_band_is_one_state_in_one_bin_even_on_an_edge():
    for level in (0.1, 0.25):
        dos = bin_average_dos(np.full((3, 3, 3, 1), level), CUBIC, np.linspace(-1, 1, 9), 3)
        assert np.count_nonzero(dos > 1e-9) <= 2
        assert dos.sum() * 0.25 == pytest.approx(1.0)


def test_a_gap_between_bands_is_exactly_zero():
    bands = np.concatenate([cosine_band((6, 6, 6)) - 3.5, cosine_band((6, 6, 6)) + 4.0], axis=-1)
    edges = np.linspace(-0.25, 0.75, 11)
    assert (bin_average_dos(bands, CUBIC, edges, 3) == 0.0).all()


def test_one_linear_tetrahedron_filling_matches_a_monte_carlo_count(rng):
    # One mesh cell with four different corners, filled by random points in each tetrahedron.
    bands = rng.normal(size=(2, 2, 2, 1))
    tetrahedra = find_tetrahedra(SKEW, (2, 2, 2))
    levels = np.array([-0.8, -0.2, 0.3, 0.9])
    weights = rng.dirichlet(np.ones(4), size=20_000)
    below = np.zeros(4)
    for index in np.ndindex(2, 2, 2):
        for tetrahedron in tetrahedra:
            corners = [bands[tuple((np.array(index) + corner) % 2)][0] for corner in tetrahedron]
            below += ((weights @ corners)[:, None] < levels).mean(axis=0) / (8 * 6)
    np.testing.assert_allclose(count_states(bands, tetrahedra, levels), below, atol=5e-3)


def test_free_electrons_follow_the_three_halves_law():
    # A parabola up to the zone boundary of a cubic cell: N(E) = volume of the sphere / volume of the zone.
    mesh = (40, 40, 40)
    k = np.meshgrid(*[(np.arange(n) / n + 0.5) % 1 - 0.5 for n in mesh], indexing="ij")
    parabola = sum(component**2 for component in k)[..., None]
    levels = np.array([0.02, 0.05, 0.1, 0.15, 0.2])
    # Beyond the sphere that touches the zone, 0.25, the law ends.
    counted = count_states(parabola, find_tetrahedra(CUBIC, mesh), levels)
    np.testing.assert_allclose(counted, 4 / 3 * np.pi * levels**1.5, rtol=0.05)


def test_interpolation_of_a_trigonometric_band_is_exact():
    for mesh in ((4, 4, 4), (5, 3, 6), (3, 4, 5)):
        fine = tuple(3 * n for n in mesh)
        np.testing.assert_allclose(interpolate_bands(cosine_band(mesh), 3), cosine_band(fine), atol=1e-12)


@given(bands=bands_on_mesh(), factor=st.integers(1, 4))
@settings(max_examples=40)
def test_interpolation_keeps_the_given_points_and_the_mean(bands, factor):
    refined = interpolate_bands(bands, factor)
    np.testing.assert_allclose(refined[::factor, ::factor, ::factor], bands, atol=1e-10)
    np.testing.assert_allclose(refined.mean(axis=(0, 1, 2)), bands.mean(axis=(0, 1, 2)), atol=1e-10)


def test_interpolation_brings_a_coarse_mesh_near_the_dense_one():
    edges = np.linspace(-3.2, 3.2, 33)
    dense = bin_average_dos(cosine_band((40, 40, 40)), CUBIC, edges, 1)
    coarse = bin_average_dos(cosine_band((8, 8, 8)), CUBIC, edges, 1)
    refined = bin_average_dos(cosine_band((8, 8, 8)), CUBIC, edges, 3)
    assert np.abs(refined - dense).sum() < 0.3 * np.abs(coarse - dense).sum()


def test_tetrahedra_fill_the_cell_and_share_the_shortest_diagonal():
    tetrahedra = find_tetrahedra(SKEW, (4, 3, 5))
    volumes = np.abs(np.linalg.det(tetrahedra[:, 1:] - tetrahedra[:, :1])) / 6
    np.testing.assert_allclose(volumes, 1 / 6)
    steps = np.linalg.inv(SKEW).T / np.array([4, 3, 5])[:, None]
    diagonal = np.linalg.norm((tetrahedra[0, 3] - tetrahedra[0, 0]) @ steps)
    signs = np.array([(1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)])
    assert diagonal == pytest.approx(np.linalg.norm(signs @ steps, axis=1).min())


def test_a_factor_below_one_is_refused():
    with pytest.raises(ValueError, match="give 1 or more"):
        interpolate_bands(cosine_band((3, 3, 3)), 0)
