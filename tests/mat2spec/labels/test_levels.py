"""Levels of theory: which crystals can be magnetic, and which labels are at the level of the Materials Project."""

import pyarrow as pa
import pytest
from pymatgen.core import Composition

from mat2spec.crystals.magnetism import can_be_magnetic
from mat2spec.labels.levels import rows_at_level
from mat2spec.settings import Level


def numbers(formula):
    return [element.Z for element, n in Composition(formula).items() for _ in range(int(n))]


@pytest.mark.parametrize("formula", ["Fe", "NiO", "SrVO3", "TiO2", "CuO", "GdN", "NaCl2", "Na"])
def test_moments_or_an_odd_number_of_electrons_can_be_magnetic(formula):
    assert can_be_magnetic(numbers(formula))


@pytest.mark.parametrize("formula", ["Si2", "NaCl", "TiAl2", "ZrO2", "PdMg", "CaCu2"])
def test_closed_shells_and_wide_bands_are_not(formula):
    assert not can_be_magnetic(numbers(formula))


def test_unpolarised_labels_count_where_spin_and_u_could_change_nothing():
    rows = [
        ("Si2", "unpolarised", "{}", None),
        ("Na", "unpolarised", "{}", None),
        ("WO4", "unpolarised", "{}", None),
        ("Fe", "polarised", "{}", "mp"),
        ("WO4", "unpolarised", '{"W": 6.2}', "mp"),
        ("Si2", "polarised", "{}", "custom"),
    ]
    store = pa.table(
        {
            "functional": ["PBE"] * len(rows),
            "spin": [row[1] for row in rows],
            "u_values": [row[2] for row in rows],
            "level": pa.array([row[3] for row in rows], pa.string()),
            "atomic_numbers": [numbers(row[0]) for row in rows],
        }
    )
    assert rows_at_level(store, Level.MP).tolist() == [True, False, False, True, True, False]
    assert rows_at_level(store, Level.UNPOLARISED).tolist() == [True, True, True, False, False, False]
