from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mat2spec.crystals.composition import ElementCounts, symbols

lists = st.lists(st.one_of(st.none(), st.lists(st.integers(1, 103), max_size=8)), max_size=12)


@given(lists, st.integers(1, 5))
def test_counts_agree_with_counting_one_by_one(numbers, piece):
    pieces = [pa.array(numbers[i : i + piece], pa.list_(pa.int8())) for i in range(0, len(numbers), piece)]
    composition = ElementCounts.from_lists(pieces)
    plain = [list_ or [] for list_ in numbers]
    assert composition.n_sites.tolist() == [len(list_) for list_ in plain]
    assert composition.n_elements.tolist() == [len(set(list_)) for list_ in plain]
    systems = ["-".join(sorted({symbols()[z] for z in list_})) for list_ in plain]
    assert composition.chemical_systems() == systems


@pytest.mark.parametrize(
    ("numbers", "formula"), [([38, 23, 8, 8, 8], "SrVO3"), ([8, 8], "O2"), ([], ""), ([13, 0], "AlX"), ([6] * 4, "C")]
)
def test_formulas_are_reduced(numbers, formula):
    composition = ElementCounts.from_lists([pa.array([numbers], pa.list_(pa.int16()))])
    assert composition.reduced_formulas([0]) == [formula]
