from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mat2spec.crystals.primitive import CellSizes
from mat2spec.spectra.constants import BOLTZMANN_EV_PER_K, HBAR2_OVER_MASS_EV_A2
from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid
from screening.classify.gaps import classify_spectra
from screening.classify.materials import Materials
from screening.classify.properties import (
    PROPERTY_COLUMNS,
    count_bins,
    derive_properties,
    dos_at_efermi,
    thermal_weights,
)

CENTERS, EDGES = EDOS_GRID.centers, EDOS_GRID.edges


def derived(spectra, volume=20.0, stoner=0.45, **further):
    """Properties of spectra per atom of one-atom cells."""
    spectra = np.atleast_2d(spectra)
    ones = np.ones(len(spectra), dtype=np.int64)
    materials = Materials(CellSizes(ones, ones, volume * ones), stoner * ones)
    return derive_properties(spectra, classify_spectra(spectra), materials, **further)


def free_electrons(bottom, volume=200.0, mass=1.0, filled_below=-3.0):
    """Bin averages of a free-electron band that begins at `bottom` eV, above a filled band that ends at `filled_below`."""
    factor = volume / (2 * np.pi**2) * (2 * mass / HBAR2_OVER_MASS_EV_A2) ** 1.5
    number = factor * 2 / 3 * np.maximum(EDGES - bottom, 0) ** 1.5
    spectrum = np.diff(number) / EDOS_GRID.width
    spectrum[filled_below > CENTERS] = 8.0
    return spectrum


def test_sommerfeld_coefficient_of_one_state_per_ev():
    # 2.357 mJ/(mol K^2) per state/(eV atom), both spins: textbook conversion.
    assert derived(np.ones(EDOS_GRID.size)).sommerfeld_coefficient_mj_per_mol_k2[0] == pytest.approx(2.357, abs=1e-3)


def test_free_electrons_of_sodium_have_the_sommerfeld_coefficient_of_the_textbook():
    # Kittel, Introduction to Solid State Physics, ch. 6: 2.65e22 per cm3, 3.23 eV, 1.094 mJ/(mol K^2).
    volume = 1e24 / 2.65e22
    row = derived(free_electrons(-3.23, volume, filled_below=-9.0), volume).iloc[0]
    assert row.occupied_states == pytest.approx(1.0, abs=0.01)
    assert row.dos_at_efermi_states_per_ev_per_atom == pytest.approx(1.5 / 3.23, rel=0.01)
    assert row.sommerfeld_coefficient_mj_per_mol_k2 == pytest.approx(1.094, abs=0.01)


def test_free_electrons_have_the_slope_and_thermopower_of_their_fermi_energy():
    depth = 3.0
    row = derived(free_electrons(-depth, filled_below=-9.0)).iloc[0]
    assert row.dos_logarithmic_slope_per_ev == pytest.approx(1 / (2 * depth), rel=1e-2)
    mott = -1e6 * np.pi**2 / 3 * BOLTZMANN_EV_PER_K**2 * 300 / (2 * depth)
    assert row.seebeck_300k_uv_per_k == pytest.approx(mott, rel=1e-2)


@given(level=st.floats(0.2, 50))
def test_a_flat_dos_has_no_slope_no_thermopower_and_its_centre_in_the_middle(level):
    row = derived(np.full(EDOS_GRID.size, level)).iloc[0]
    assert row.dos_logarithmic_slope_per_ev == pytest.approx(0.0, abs=1e-9)
    assert row.seebeck_300k_uv_per_k == pytest.approx(0.0, abs=1e-6)
    assert row.occupied_center_ev == pytest.approx(EDGES[0] / 2)
    assert row.occupied_states == pytest.approx(-level * EDGES[0])
    assert row.stoner_product == pytest.approx(0.45 * level)


@given(slope=st.floats(-2, 2))
def test_the_logarithmic_slope_of_an_exponential_is_its_exponent(slope):
    assert derived(np.exp(slope * CENTERS)).dos_logarithmic_slope_per_ev[0] == pytest.approx(slope, abs=0.02)


@given(slope=st.floats(-1.5, 1.5))
def test_the_seebeck_proxy_of_a_gentle_slope_is_that_of_the_mott_formula(slope):
    # -(pi^2/3) (k_B/e) k_B T d ln g/dE, exact for a linear density of states.
    seebeck = derived(10 * (1 + slope * CENTERS / 8)).seebeck_300k_uv_per_k[0]
    mott = -1e6 * np.pi**2 / 3 * BOLTZMANN_EV_PER_K**2 * 300 * slope / 8
    assert seebeck == pytest.approx(mott, rel=2e-3, abs=1e-6)


def test_a_linear_band_edge_at_efermi_has_the_seebeck_coefficient_of_its_transport_integrals():
    # g ~ E above E_F: <E> = integral(E^2 f') / integral(E f') = (pi^2/6) k_B T / ln 2 (its half lines).
    energies = SpectralGrid("fine", -1.0, 1.0, 4001, "eV", "", "")
    zeroth, first = thermal_weights(energies, 300.0)
    density = np.maximum(energies.centers, 0)
    thermal = BOLTZMANN_EV_PER_K * 300
    assert density @ first / (density @ zeroth) == pytest.approx(np.pi**2 / 6 * thermal / np.log(2), rel=1e-4)


def test_electrons_above_the_valley_give_a_negative_and_holes_a_positive_thermopower():
    rising, falling = free_electrons(-1.0), free_electrons(-1.0)[::-1]
    found = derived(np.stack([rising, falling])).seebeck_300k_uv_per_k
    assert found[0] < 0 < found[1]
    assert found[0] == pytest.approx(-found[1])


@pytest.mark.parametrize("mass", [0.7, 1.0, 3.0])
@pytest.mark.parametrize("depth", [0.6, 0.9])
def test_free_electrons_above_a_gap_have_their_number_and_mass(mass, depth):
    volume = 400.0
    spectrum = free_electrons(-depth, volume, mass)
    row = derived(spectrum, volume).iloc[0]
    number = (2 * mass * depth / HBAR2_OVER_MASS_EV_A2) ** 1.5 / (3 * np.pi**2) * 1e24
    found = classify_spectra(spectrum[None]).iloc[0]
    assert found.gapped_metal_type == "n"
    assert row.carriers_per_cm3 == pytest.approx(number, rel=1e-3)
    # The mean of two bins at E_F is that of a curved density.
    assert row.band_mass == pytest.approx(mass, rel=2e-3)


def test_holes_of_a_mirrored_spectrum_are_as_many_and_as_heavy():
    spectrum = free_electrons(-0.9)
    electrons, holes = (derived(values, 200.0).iloc[0] for values in (spectrum, spectrum[::-1]))
    assert classify_spectra(spectrum[None, ::-1]).gapped_metal_type[0] == "p"
    assert holes.carriers_per_cm3 == pytest.approx(electrons.carriers_per_cm3)
    assert holes.band_mass == pytest.approx(electrons.band_mass)


def test_the_confidence_of_a_sign_falls_to_one_half_with_the_uncertainty():
    spectrum = free_electrons(-0.9)
    confidences = [
        derived(spectrum, uncertainty=np.full((1, 128), deviation)).seebeck_sign_confidence[0]
        for deviation in (0.01, 1.0, 1000.0)
    ]
    assert confidences[0] > 0.99 > confidences[1] > confidences[2] > 0.5
    assert confidences[2] == pytest.approx(0.5, abs=0.02)
    assert np.isnan(derived(spectrum).seebeck_sign_confidence[0])


def test_errors_of_sums_are_those_of_equal_errors():
    found = derived(free_electrons(-0.9), volume=200.0, uncertainty=np.full((1, 128), 0.1)).iloc[0]
    gap = classify_spectra(free_electrons(-0.9)[None]).iloc[0]
    middle = (gap.gap_bottom_ev + gap.gap_top_ev) / 2
    assert found.carriers_per_cm3_std == pytest.approx(0.1 * -middle / 200 * 1e24)
    assert found.dos_at_efermi_states_per_ev_per_atom_std == pytest.approx(0.1)


def test_a_non_metal_has_no_fermi_surface():
    spectrum = np.where(CENTERS > 0, 0.0, 5.0)
    row = derived(spectrum).iloc[0]
    for column in (
        "sommerfeld_coefficient_mj_per_mol_k2",
        "stoner_product",
        "seebeck_300k_uv_per_k",
        "carriers_per_cm3",
    ):
        assert np.isnan(row[column])


def test_undefined_quantities_are_null_not_zero():
    empty = derived(np.zeros(EDOS_GRID.size)).iloc[0]
    assert empty.dos_at_efermi_states_per_ev_per_atom == 0.0
    assert np.isnan(empty.dos_logarithmic_slope_per_ev)
    assert np.isnan(empty.occupied_center_ev)
    unknown = derived(np.full(EDOS_GRID.size, np.nan))
    assert unknown.isna().all(axis=None)
    assert list(unknown.columns) == list(PROPERTY_COLUMNS)


def test_without_volume_there_is_no_number_of_carriers():
    assert np.isnan(derived(free_electrons(-0.9), volume=np.nan).carriers_per_cm3[0])


def test_no_spectra_give_no_rows():
    assert isinstance(derived(np.empty((0, 128))), pd.DataFrame)


def test_dos_at_efermi_is_the_mean_of_the_two_bins_at_zero():
    spectrum = np.zeros((1, EDOS_GRID.size))
    spectrum[0, 63:65] = [2.0, 4.0]
    assert dos_at_efermi(spectrum)[0] == 3.0


def test_bins_are_rounded_up():
    assert count_bins(1.0, EDOS_GRID) == 16
    assert count_bins(16 * EDOS_GRID.width, EDOS_GRID) == 16
    assert count_bins(1e-6, EDOS_GRID) == 1
