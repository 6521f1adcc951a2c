from __future__ import annotations

import csv
import pickle
from pathlib import Path

import pytest

from mat2spec.tables import columns
from mat2spec.tables.columns import Column


@pytest.mark.parametrize("column", list(Column))
def test_a_column_is_its_name_and_says_what_it_holds(column):
    assert column == column.value == str(column)
    assert Column(str(column)) is column
    assert pickle.loads(pickle.dumps(column)) is column
    assert column.label
    assert column.description.endswith(".")


def test_the_rows_of_the_file_are_the_columns_in_the_same_order():
    with Path(columns.__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == list(Column)


@pytest.mark.parametrize("column", [column for column in Column if column.endswith("_ev")])
def test_units_in_names_are_the_units(column):
    assert "eV" in column.unit


def test_a_heading_has_the_unit():
    assert Column.GAP_TOP_EV.heading == "Gap top (eV)"
    assert Column.PRECISION.heading == "Precision"
