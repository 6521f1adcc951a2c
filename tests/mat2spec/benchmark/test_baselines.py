import numpy as np
import pytest
from pymatgen.core import Element

from mat2spec.benchmark.baselines import (
    BASELINES,
    CompositionNeighbours,
    MeanSpectrum,
    NearestComposition,
    NearestCompositions,
    best_threshold,
    describe_compositions,
)

FORMULAS = ["NaCl", "KCl", "MgO", "CaO", "SrVO3", "LaNiO3"]
SPECTRA = np.eye(6) + 0.1
GAPPED = np.array([False, False, False, False, True, True])


@pytest.mark.parametrize("baseline", BASELINES)
def test_forecasts_are_spectra_with_a_confidence_and_always_the_same(baseline):
    forecasts = []
    for _ in range(2):
        fitted = baseline()
        fitted.fit(FORMULAS, SPECTRA, GAPPED)
        forecasts.append(fitted.predict(["RbCl", "BaVO3", "He"]))
    first, second = forecasts
    np.testing.assert_array_equal(first.spectra, second.spectra)
    assert first.spectra.shape == (3, 6)
    assert (first.spectra >= 0).all()
    assert ((first.gapped_metals.confidence >= 0) & (first.gapped_metals.confidence <= 1)).all()


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_forecast_does_not_depend_on_its_batch(baseline):
    fitted = baseline()
    fitted.fit(FORMULAS, SPECTRA, GAPPED)
    together = fitted.predict(["RbCl", "BaVO3"])
    alone = fitted.predict(["BaVO3"])
    np.testing.assert_array_equal(together.spectra[1:], alone.spectra)
    assert together.gapped_metals.confidence[1] == alone.gapped_metals.confidence[0]


@pytest.mark.parametrize("baseline", BASELINES)
def test_without_gapped_metals_spectra_are_predicted(baseline):
    fitted = baseline()
    fitted.fit(FORMULAS, SPECTRA)
    assert fitted.predict(["RbCl"]).gapped_metals is None


def test_the_mean_is_the_mean():
    fitted = MeanSpectrum()
    fitted.fit(FORMULAS, SPECTRA, GAPPED)
    forecast = fitted.predict(["RbCl"])
    np.testing.assert_allclose(forecast.spectra[0], SPECTRA.mean(axis=0))
    assert forecast.gapped_metals.confidence[0] == pytest.approx(1 / 3)
    assert not forecast.gapped_metals.flags[0]


def test_the_nearest_composition_has_the_same_stoichiometry_and_a_neighbouring_element():
    fitted = NearestComposition()
    fitted.fit(FORMULAS, SPECTRA, GAPPED)
    forecast = fitted.predict(["RbCl", "BaVO3", "MgO"])
    np.testing.assert_array_equal(forecast.spectra, SPECTRA[[1, 4, 2]])
    assert forecast.gapped_metals.flags.tolist() == [False, True, False]


def test_materials_of_the_same_parity_come_first():
    odd = describe_compositions(["NaCl", "SrVO3", "TiO2", "LaNiO3", "Na2O"]).is_odd
    assert odd.tolist() == [False, True, False, True, False]
    training = ["KTiO3", "CaTiO3"]
    fitted = NearestCompositions(1, same_parity=True)
    fitted.fit(training, np.eye(2))
    assert describe_compositions(training).is_odd.tolist() == [True, False]
    np.testing.assert_array_equal(fitted.predict(["SrTiO3", "RbTiO3"]).spectra, [[0, 1], [1, 0]])


def test_distances_are_the_work_of_moving_elements_on_the_scale():
    cumulative = describe_compositions(["NaCl", "KCl", "Na3Cl"]).cumulative
    places = abs(Element("Na").mendeleev_no - Element("K").mendeleev_no)
    assert np.abs(cumulative[0] - cumulative[1]).sum() == pytest.approx(places / 2)
    apart = abs(Element("Na").mendeleev_no - Element("Cl").mendeleev_no)
    assert np.abs(cumulative[0] - cumulative[2]).sum() == pytest.approx(apart / 4)


def test_fewer_training_materials_than_neighbours_are_enough():
    fitted = CompositionNeighbours()
    fitted.fit(["NaCl"], np.ones((1, 4)), np.array([True]))
    forecast = fitted.predict(["MgO"])
    np.testing.assert_allclose(forecast.spectra, 1)
    assert forecast.gapped_metals.flags.tolist() == [True]


def test_the_threshold_is_where_f1_is_best():
    confidence = np.array([0.9, 0.6, 0.3, 0.2, 0.1])
    assert best_threshold(confidence, np.array([True, False, True, False, False])) == 0.3
    assert best_threshold(confidence, np.array([True, False, False, False, True])) == 0.9
    assert best_threshold(confidence, np.zeros(5, dtype=bool)) == 0.5
