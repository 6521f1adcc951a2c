import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition
from scipy.integrate import quad

from mat2spec.spectra.grids import PHDOS_GRID
from mat2spec.spectra.phonons import (
    GAS_CONSTANT_J_PER_MOL_K,
    KELVIN_PER_CM1,
    acoustic_optic_gap,
    debye_temperature,
    deviation_of_average,
    einstein_function,
    entropy,
    heat_capacity,
    highest_frequency,
    mean_frequency,
    scale_to_modes,
    zero_point_energy,
)

DULONG_PETIT = 3 * GAS_CONSTANT_J_PER_MOL_K


def single_peak(frequency_cm1):
    """All modes in one bin."""
    spectrum = np.zeros(PHDOS_GRID.size)
    spectrum[round(frequency_cm1 / PHDOS_GRID.width)] = 0.7
    return spectrum


def test_modes_of_one_frequency_are_an_einstein_solid():
    ratio = KELVIN_PER_CM1 * 200 / 300
    expected = 2 * DULONG_PETIT * ratio**2 * np.exp(ratio) / (np.exp(ratio) - 1) ** 2
    assert heat_capacity(PHDOS_GRID.centers, single_peak(200), 2) == pytest.approx(expected, rel=1e-12)
    assert mean_frequency(PHDOS_GRID.centers, single_peak(200)) == pytest.approx(200)


def test_debye_spectrum_has_the_debye_heat_capacity():
    fine = np.linspace(0, 400, 40001)
    theta = KELVIN_PER_CM1 * 400
    for temperature in (20.0, 100.0, 300.0):
        edge = theta / temperature
        integral = quad(lambda x: x**4 * np.exp(x) / np.expm1(x) ** 2, 1e-9, edge)[0]
        expected = 3 * DULONG_PETIT * integral / edge**3
        assert heat_capacity(fine, fine**2, 1, temperature) == pytest.approx(expected, rel=1e-3)
    assert mean_frequency(fine, fine**2) == pytest.approx(0.75 * 400, rel=1e-4)


def test_heat_capacity_goes_to_dulong_and_petit_and_to_zero():
    spectrum = single_peak(500)
    assert heat_capacity(PHDOS_GRID.centers, spectrum, 5, 1e5) == pytest.approx(5 * DULONG_PETIT, rel=1e-4)
    assert heat_capacity(PHDOS_GRID.centers, spectrum, 5, 1.0) == 0
    assert heat_capacity(PHDOS_GRID.centers, single_peak(0), 1) == pytest.approx(DULONG_PETIT, rel=1e-9)


@given(st.floats(0, 1e4))
def test_einstein_function_is_finite_and_between_zero_and_one(ratio):
    value = float(einstein_function(np.array(ratio)))
    assert 0 <= value <= 1 + 1e-12


@given(st.floats(1e-6, 1e6))
def test_the_scale_of_a_spectrum_does_not_matter(factor):
    spectrum = np.exp(-(((PHDOS_GRID.centers - 300) / 80) ** 2))
    centers = PHDOS_GRID.centers
    assert heat_capacity(centers, factor * spectrum, 2) == pytest.approx(float(heat_capacity(centers, spectrum, 2)))
    assert mean_frequency(centers, factor * spectrum) == pytest.approx(float(mean_frequency(centers, spectrum)))
    assert PHDOS_GRID.integrate(scale_to_modes(factor * spectrum, PHDOS_GRID)) == pytest.approx(3)


def test_a_spectrum_without_modes_has_no_heat_capacity():
    spectra = np.stack([np.zeros(PHDOS_GRID.size), single_peak(100)])
    assert np.isnan(heat_capacity(PHDOS_GRID.centers, spectra, np.array([2.0, 2.0]))).tolist() == [True, False]
    assert np.isnan(mean_frequency(PHDOS_GRID.centers, spectra)).tolist() == [True, False]
    assert scale_to_modes(spectra, PHDOS_GRID)[0].sum() == 0


def test_published_heat_capacities_are_met():
    table_file = Path(os.environ.get("MAT2SPEC_DATA_DIR", "../shared/data")) / "phdos_dfpt.parquet"
    if not table_file.is_file():
        pytest.skip("the phonon tables are not here; MAT2SPEC_DATA_DIR names their folder")
    rows = pq.read_table(table_file).slice(0, 300).to_pylist()
    errors = []
    for row in rows:
        if row["heat_capacity_300k"] is None or row["has_imaginary"]:
            continue
        density = np.array(row["phdos_1cm1"])
        frequencies = row["frequency_cm1_start"] + np.arange(len(density))
        real = frequencies >= 0
        # The published figure is that of a formula unit, not of the cell.
        n_atoms = Composition(row["formula"]).reduced_composition.num_atoms
        errors.append(heat_capacity(frequencies[real], density[real], n_atoms) - row["heat_capacity_300k"])
    assert len(errors) > 100
    assert np.abs(errors).max() < 0.1


def test_an_einstein_solid_has_the_entropy_and_the_zero_point_energy_of_its_oscillators():
    x = KELVIN_PER_CM1 * 200 / 300
    expected = DULONG_PETIT * (x / (np.exp(x) - 1) - np.log(1 - np.exp(-x)))
    spectrum = single_peak(200)
    assert entropy(PHDOS_GRID.centers, spectrum) == pytest.approx(expected, rel=1e-12)
    assert zero_point_energy(PHDOS_GRID.centers, spectrum) == pytest.approx(1.5 * 200 * 0.12398, rel=1e-4)


def test_entropy_is_the_integral_of_the_heat_capacity_over_temperature():
    spectrum = single_peak(300) + single_peak(500)
    expected, _ = quad(lambda t: float(heat_capacity(PHDOS_GRID.centers, spectrum, 1, t)) / t, 1, 300)
    assert entropy(PHDOS_GRID.centers, spectrum, 300.0) == pytest.approx(expected, rel=1e-6)


def test_a_debye_spectrum_has_its_debye_temperature():
    frequencies = np.linspace(0, 400, 4001)
    assert debye_temperature(frequencies, frequencies**2) == pytest.approx(KELVIN_PER_CM1 * 400, rel=1e-3)


def test_the_highest_frequency_holds_nearly_all_modes():
    box = (PHDOS_GRID.centers <= 500).astype(float)[None]
    assert highest_frequency(PHDOS_GRID, box) == pytest.approx(-10 + 0.99 * 520)
    assert np.isnan(highest_frequency(PHDOS_GRID, np.zeros((1, 51)))).all()


def test_the_gap_between_acoustic_and_optic_modes_is_found_by_counting_modes():
    acoustic = (PHDOS_GRID.centers > 100) & (PHDOS_GRID.centers <= 200)
    optic = (PHDOS_GRID.centers > 500) & (PHDOS_GRID.centers <= 600)
    spectra = np.stack([acoustic + 1.0 * optic, acoustic + 3.0 * optic, np.ones(51), np.zeros(51)])
    two = acoustic_optic_gap(PHDOS_GRID, spectra, np.array([2, 2, 2, 2]))
    assert two[0] == pytest.approx(300)
    assert two[1] == 0, "half a mode of four lies below"
    assert two[2] == 0
    assert np.isnan(two[3])
    assert acoustic_optic_gap(PHDOS_GRID, spectra[1:2], np.array([4])) == pytest.approx(300)
    assert np.isnan(acoustic_optic_gap(PHDOS_GRID, spectra[:1], np.array([1])))


def test_the_deviation_of_an_average_is_that_of_random_spectra():
    rng = np.random.default_rng(0)
    spectrum, errors = rng.uniform(1, 2, 51), rng.uniform(0.01, 0.05, 51)
    drawn = spectrum + errors * rng.standard_normal((20000, 51))
    found = deviation_of_average(PHDOS_GRID.centers, spectrum, errors)
    assert found == pytest.approx(mean_frequency(PHDOS_GRID.centers, drawn).std(), rel=0.03)
