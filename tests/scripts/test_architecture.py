from __future__ import annotations

import pytest

from scripts.architecture import circles, measure


@pytest.fixture(scope="module")
def house():
    return measure()


def test_no_module_imports_itself_through_others(house):
    assert circles(house.imports) == []


def test_no_room_imports_itself_through_others(house):
    assert circles(house.room_imports()) == []


def test_packages_import_only_those_below_them(house):
    assert house.wrong_arrows() == []


def test_sizes_stay_within_limits(house):
    assert max(house.modules.values()) <= 450
    # The enum of all columns has a line for each.
    classes = [one for one in house.classes if one.name != "mat2spec.tables.columns:Column"]
    assert [one for one in classes if one.lines > 250] == []
    assert [one for one in house.functions if one.lines > 60] == []
    assert sum(house.imports_in_functions.values()) <= 55


def test_circles_are_found_once():
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": set(), "e": {"a"}}
    assert circles(graph) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []
