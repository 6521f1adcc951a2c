import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mat2spec.spectra.grids import EDOS_GRID, GRIDS, PHDOS_GRID, SpectralGrid, rebin_to_edges


def test_grids_are_the_published_ones():
    assert EDOS_GRID.size == 128
    assert EDOS_GRID.width == pytest.approx(8 / 127)
    assert EDOS_GRID.centers[[0, -1]].tolist() == [-4, 4]
    assert PHDOS_GRID.centers[[0, 1, -1]].tolist() == [0, 20, 1000]


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_edges_enclose_centres_and_grid_survives_json(grid):
    np.testing.assert_allclose((grid.edges[1:] + grid.edges[:-1]) / 2, grid.centers, atol=1e-9)
    assert SpectralGrid.from_json(grid.to_json()) == grid


def test_spectrum_on_another_grid_is_refused_with_a_sentence():
    with pytest.raises(ValueError, match=r"has 128 bins, but this one has shape \(3, 51\)"):
        EDOS_GRID.check(np.zeros((3, 51)))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.integers(1, 40))
def test_rebinning_conserves_the_integral(density, n_new):
    edges = np.linspace(-1, 2, len(density) + 1)
    new_edges = np.linspace(-1, 2, n_new + 1)
    rebinned = rebin_to_edges(edges, np.array(density), new_edges)
    assert (rebinned * np.diff(new_edges)).sum() == pytest.approx((density * np.diff(edges)).sum(), abs=1e-9)
    assert (rebinned >= -1e-9).all()


def test_rebinning_a_flat_histogram_leaves_it_flat_and_is_zero_outside():
    rebinned = rebin_to_edges(np.linspace(0, 4, 9), np.full(8, 2.5), np.array([-2.0, -1.0, 0.0, 1.3, 4.0, 5.0]))
    np.testing.assert_allclose(rebinned, [0, 0, 2.5, 2.5, 0], atol=1e-12)
