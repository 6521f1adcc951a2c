from __future__ import annotations

import pickle

import pytest

from mat2spec.tables.columns import Column


@pytest.mark.parametrize("column", list(Column))
def test_a_column_is_its_name_and_says_what_it_holds(column):
    assert column == column.value == str(column)
    assert Column(str(column)) is column
    assert pickle.loads(pickle.dumps(column)) is column
    assert column.label
    assert column.description.endswith(".")


@pytest.mark.parametrize("column", [column for column in Column if column.endswith("_ev")])
def test_units_in_names_are_the_units(column):
    assert "eV" in column.unit


def test_a_heading_has_the_unit():
    assert Column.GAP_TOP_EV.heading == "Gap top (eV)"
    assert Column.PRECISION.heading == "Precision"
