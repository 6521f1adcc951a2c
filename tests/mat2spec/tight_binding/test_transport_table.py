"""Masses and Seebeck coefficients in tables."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

import mat2spec
from mat2spec.crystals.arrays import Crystals
from mat2spec.tables.columns import TRANSPORT_COLUMNS, Column
from mat2spec.tight_binding import fine_mesh
from mat2spec.tight_binding.predictor import TightBindingPredictor

VANADATE = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.86), ["Sr", "V", "O"], [[0.5] * 3, [0] * 3, [0.5, 0, 0]])
ARSENIDE = Structure.from_spacegroup("F-43m", Lattice.cubic(5.653), ["Ga", "As"], [[0, 0, 0], [0.25] * 3])
BAD = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.001, 0, 0]])


@pytest.fixture(scope="module")
def table():
    predictor = mat2spec.load_predictor("tight-binding", device="cpu")
    assert isinstance(predictor, TightBindingPredictor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fine_mesh, "MOST_WORK", 3e7)
        crystals = Crystals.from_structures([VANADATE, BAD, ARSENIDE], ["SrVO3", "bad", "GaAs"])
        return mat2spec.transport_table(crystals, predictor).set_index(Column.MATERIAL_ID)


def test_a_crystal_that_cannot_be_solved_has_no_row(table):
    assert table.index.tolist() == ["SrVO3", "GaAs"]


def test_a_metal_has_numbers_of_its_fermi_surface(table):
    row = table.loc["SrVO3"]
    assert row[Column.BANDS_GAP_EV] == 0
    # One electron in three bands: a few eV of plasma energy, a mass of a few electron masses.
    assert 2 < row[Column.PLASMA_ENERGY] < 6
    assert row[Column.BANDS_CARRIERS] == pytest.approx(1e24 / 3.86**3)
    assert 1 < row[Column.CONDUCTIVITY_MASS] < 4
    assert abs(row[Column.BANDS_SEEBECK]) < 40
    assert row[[Column.ELECTRON_MASS, Column.HOLE_MASS, Column.SEEBECK_N_1E19]].isna().all()


def test_a_semiconductor_has_numbers_of_its_edges(table):
    row = table.loc["GaAs"]
    assert row[Column.BANDS_GAP_EV] > 0.2
    # Light electrons, heavier holes.
    assert 0 < row[Column.ELECTRON_MASS] < row[Column.HOLE_MASS] < 1
    assert row[Column.SEEBECK_P_1E19] > row[Column.SEEBECK_P_1E20] > 0 > row[Column.SEEBECK_N_1E19]
    assert np.isnan(row[Column.BANDS_SEEBECK])


def test_all_columns_are_there(table):
    assert [str(name) for name in TRANSPORT_COLUMNS] == table.columns[1:-1].tolist()
    assert set(table[Column.MODEL]) == {"tight-binding"}
