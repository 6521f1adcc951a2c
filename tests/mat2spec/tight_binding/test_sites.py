"""Spectra split over sites and shells, as pymatgen objects."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Element, Lattice, Structure
from pymatgen.electronic_structure.core import OrbitalType, Spin
from pymatgen.electronic_structure.dos import CompleteDos, Dos

from mat2spec.crystals.arrays import Crystals
from mat2spec.prediction import predict_with_models
from mat2spec.tight_binding.predictor import TightBindingPredictor
from tests.mat2spec.conftest import low_symmetry
from tests.mat2spec.tight_binding.test_predictor import make_model

# Two kinds of oxygen: in the chains, and in the layers.
TWO_OXYGENS = Structure(
    Lattice.tetragonal(3.9, 5.2),
    ["Sr", "V", "O", "O", "O"],
    [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.35]],
)


@pytest.fixture(scope="module")
def predictor():
    return TightBindingPredictor(make_model())


def dos_of(predictor, *structures):
    (prediction,) = predict_with_models([predictor], Crystals.from_structures(structures))
    assert prediction.status == ["ok"] * len(structures), prediction.reason
    return prediction, [prediction.dos(index) for index in range(len(structures))]


def site_sums(dos):
    return np.array([dos.get_site_dos(site).get_densities() for site in dos.structure])


def test_projections_sum_to_the_spectrum_of_each_crystal(predictor):
    prediction, found = dos_of(predictor, low_symmetry(), TWO_OXYGENS)
    for dos, spectrum in zip(found, prediction.spectra, strict=True):
        assert isinstance(dos, CompleteDos)
        np.testing.assert_allclose(dos.get_densities(), spectrum)
        assert min(values.min() for site in dos.pdos.values() for [values] in map(dict.values, site.values())) >= 0
        np.testing.assert_allclose(site_sums(dos).sum(axis=0), spectrum, rtol=1e-3, atol=1e-4)
        by_shell = sum(shell.densities[Spin.up] for shell in dos.get_spd_dos().values())
        np.testing.assert_allclose(by_shell, spectrum, rtol=1e-3, atol=1e-4)
        assert set(dos.get_element_dos()) == set(dos.structure.composition.elements)


def test_equivalent_sites_have_equal_shares_and_others_do_not(predictor):
    _, (dos,) = dos_of(predictor, TWO_OXYGENS)
    layer, same, chain = site_sums(dos)[2:]
    np.testing.assert_allclose(layer, same, rtol=1e-4, atol=1e-6)
    assert np.abs(chain - layer).max() > 0.01 * layer.max()


def test_the_sites_of_any_cell_have_the_shares_of_those_they_repeat(predictor):
    order = [4, 2, 0, 3, 1]
    shuffled = Structure(
        TWO_OXYGENS.lattice,
        [TWO_OXYGENS[i].specie for i in order],
        TWO_OXYGENS.frac_coords[order] + [0.1, 0.2, 0.3],
    )
    double = TWO_OXYGENS.make_supercell([1, 1, 2], in_place=False)
    skewed = TWO_OXYGENS.make_supercell([[1, 1, 0], [-1, 1, 0], [0, 0, 1]], in_place=False)
    _, (given, other, larger, turned) = dos_of(predictor, TWO_OXYGENS, shuffled, double, skewed)
    expected = site_sums(given)
    np.testing.assert_allclose(site_sums(other), expected[order], rtol=5e-3, atol=5e-3)
    for cell in (larger, turned):
        assert [site.specie for site in cell.structure] == [TWO_OXYGENS[i // 2].specie for i in range(10)]
        np.testing.assert_allclose(site_sums(cell), np.repeat(expected, 2, axis=0), rtol=5e-3, atol=5e-3)


def test_shells_of_an_element_can_be_asked_for(predictor):
    _, (dos,) = dos_of(predictor, TWO_OXYGENS)
    shells = dos.get_element_spd_dos(Element("O"))
    assert shells[OrbitalType.p].densities[Spin.up].sum() > shells[OrbitalType.s].densities[Spin.up].sum()
    assert dos.get_site_orbital_dos(dos.structure[1], OrbitalType.d).densities[Spin.up].max() > 0


def test_without_projections_it_is_a_plain_spectrum(predictor):
    prediction, _ = dos_of(predictor, TWO_OXYGENS)
    assert type(prediction.dos(0, projected=False)) is Dos
    small = TightBindingPredictor(make_model(), max_atoms=4, fallback=lambda: predictor)
    (large,) = predict_with_models([small], Crystals.from_structures([TWO_OXYGENS]))
    assert type(large.dos(0)) is Dos


def test_rows_that_are_taken_keep_their_crystals(predictor):
    prediction, (_, second) = dos_of(predictor, low_symmetry(), TWO_OXYGENS)
    dos = prediction.take(np.array([1])).dos(0)
    np.testing.assert_allclose(site_sums(dos), site_sums(second), rtol=1e-4, atol=1e-5)
