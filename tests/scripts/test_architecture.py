from __future__ import annotations

from collections import Counter

import pytest

from scripts.architecture import PACKAGES, circles, measure, room_of


@pytest.fixture(scope="module")
def house():
    return measure()


def test_no_module_imports_itself_through_others(house):
    assert circles(house.imports) == []


def test_no_room_imports_itself_through_others(house):
    assert circles(house.room_imports()) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_is_a_hall_of_loose_rooms(house, package):
    rooms = {room_of(module) for module in house.modules if module.startswith(f"{package}.")}
    assert len(rooms) < 20


def test_packages_import_only_those_below_them(house):
    assert house.wrong_arrows() == []


def test_sizes_stay_within_limits(house):
    assert max(house.modules.values()) <= 450
    assert [one for one in house.classes if one.lines > 250] == []
    assert [one for one in house.functions if one.lines > 60] == []
    assert sum(house.imports_in_functions.values()) <= 55


def test_a_name_of_a_class_means_one_thing(house):
    names = Counter(name for name in (one.name.partition(":")[2] for one in house.classes) if not name.startswith("_"))
    assert [name for name, n in names.items() if n > 1] == []


def test_circles_are_found_once():
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": set(), "e": {"a"}}
    assert circles(graph) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []
