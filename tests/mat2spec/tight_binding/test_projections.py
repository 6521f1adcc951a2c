"""Projections of the spectra that tight binding predicts."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

import mat2spec
from mat2spec.crystals.arrays import Crystals
from mat2spec.spectra.grids import EDOS_GRID

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])

VANADATE = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.86), ["Sr", "V", "O"], [[0.5] * 3, [0] * 3, [0.5, 0, 0]])


def test_projections_are_per_given_cell_and_belong_to_its_elements():
    crystals = Crystals.from_structures([SALT, SALT.get_primitive_structure()], ["cubic", "primitive"])
    found = mat2spec.project_spectra(crystals, mat2spec.load_predictor("tight-binding", device="cpu"))
    assert {name.split()[0] for name in found["cubic"]} == {"Na", "Cl"}
    total = {name: EDOS_GRID.integrate(np.sum(list(shells.values()), axis=0)) for name, shells in found.items()}
    assert total["cubic"] == pytest.approx(4 * total["primitive"], rel=1e-3)
    assert max(found["cubic"], key=lambda name: EDOS_GRID.integrate(found["cubic"][name])) == "Cl p"
    assert all((values >= 0).all() for values in found["cubic"].values())


def test_projections_sum_to_the_predicted_spectrum():
    predictor = mat2spec.load_predictor("tight-binding", device="cpu")
    crystals = Crystals.from_structures([SALT, VANADATE])
    predicted = predictor.predict(crystals)
    found = mat2spec.project_spectra(crystals, predictor)
    for name, spectrum in zip(predicted.material_ids, predicted.spectra, strict=True):
        np.testing.assert_allclose(np.sum(list(found[name].values()), axis=0), spectrum, rtol=1e-3, atol=1e-3)
    assert set(found[crystals.material_ids[0]]) == {"Na s", "Na p", "Cl s", "Cl p", "Cl d"}


def test_a_crystal_that_cannot_be_used_has_none():
    nothing = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.001, 0, 0]])
    crystals = Crystals.from_structures([nothing, SALT], ["bad", "good"])
    assert list(mat2spec.project_spectra(crystals, mat2spec.load_predictor("tight-binding", device="cpu"))) == ["good"]


def test_other_models_give_none():
    crystals = Crystals.from_structures([SALT])
    assert mat2spec.project_spectra(crystals, mat2spec.load_predictor("mat2spec", device="cpu")) == {}
