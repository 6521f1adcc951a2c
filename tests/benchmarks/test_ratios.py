import json

import pytest

from benchmarks import ratios


def recorded():
    return json.loads(ratios.RESULTS.read_text())["cpu"]["ratios"]


def test_a_ratio_that_falls_by_more_than_a_fifth_is_named():
    on_record = {"graphs, small": {"ratio": 10.0}, "bands, small": {"ratio": 2.0}}
    found = {"graphs, small": {"ratio": 7.9}, "bands, small": {"ratio": 1.7}, "new": {"ratio": 1.0}}
    assert ratios.fallen(found, on_record) == ["graphs, small: 7.90 times faster than plain code, 10.00 on record."]


def test_every_part_is_on_record():
    assert {name.split(",")[0] for name in recorded()} == set(ratios.PARTS)


@pytest.mark.parametrize("part", ["graphs"])
def test_ratios_are_those_of_the_two_times(part):
    found = ratios.measure([part], "cpu")
    assert {f"{part}, {size}" for size in ratios.SIZES} == set(found)
    assert all(values["ratio"] == values["plain"] / values["ours"] > 1 for values in found.values())
