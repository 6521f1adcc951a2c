from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mat2spec.spectra.grids import EDOS_GRID
from screening.classify.properties import count_bins, derive_properties, dos_at_efermi


def test_sommerfeld_coefficient_of_one_state_per_ev():
    # 2.357 mJ/(mol K^2) per state/(eV cell), both spins: textbook conversion.
    derived = derive_properties(np.ones((1, EDOS_GRID.size)))
    assert derived.sommerfeld_coefficient_mj_per_mol_k2[0] == pytest.approx(2.357, abs=1e-3)


@given(level=st.floats(0.1, 50), n_sites=st.integers(1, 100))
def test_a_flat_dos_has_no_slope_and_its_centre_in_the_middle(level, n_sites):
    derived = derive_properties(np.full((1, EDOS_GRID.size), level), n_sites=np.array([n_sites])).iloc[0]
    assert derived.dos_logarithmic_slope_per_ev == pytest.approx(0.0, abs=1e-9)
    assert derived.occupied_center_ev == pytest.approx(EDOS_GRID.edges[0] / 2)
    assert derived.occupied_states == pytest.approx(-level * EDOS_GRID.edges[0])
    assert derived.dos_at_efermi_states_per_ev_per_atom == pytest.approx(level / n_sites)


@given(slope=st.floats(-2, 2))
def test_the_logarithmic_slope_of_an_exponential_is_its_exponent(slope):
    spectrum = np.exp(slope * EDOS_GRID.centers)[None]
    derived = derive_properties(spectrum)
    assert derived.dos_logarithmic_slope_per_ev[0] == pytest.approx(slope, abs=0.02)


def test_undefined_quantities_are_null_not_zero():
    derived = derive_properties(np.zeros((1, EDOS_GRID.size))).iloc[0]
    assert derived.dos_at_efermi_states_per_ev == 0.0
    assert np.isnan(derived.dos_logarithmic_slope_per_ev)
    assert np.isnan(derived.occupied_center_ev)
    assert derive_properties(np.full((1, EDOS_GRID.size), np.nan)).isna().all(axis=None)


def test_dos_at_efermi_is_the_mean_of_the_two_bins_at_zero():
    spectrum = np.zeros((1, EDOS_GRID.size))
    spectrum[0, 63:65] = [2.0, 4.0]
    assert dos_at_efermi(spectrum)[0] == 3.0


def test_bins_are_rounded_up():
    assert count_bins(1.0, EDOS_GRID) == 16
    assert count_bins(16 * EDOS_GRID.width, EDOS_GRID) == 16
    assert count_bins(1e-6, EDOS_GRID) == 1
