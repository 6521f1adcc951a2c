from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from mat2spec.crystals.environments import Environments
from tests.mat2spec.crystals.test_plausibility import real_crystals


def test_the_nearest_neighbour_of_each_element_is_found():
    around = Environments.of(real_crystals().take([2]))
    oxygen = np.flatnonzero(around.site_element[around.near_site] == 8)
    found = dict(zip(around.near_element[oxygen].tolist(), around.near_distance[oxygen].tolist(), strict=False))
    assert found == pytest.approx({8: 3.84 / 2**0.5, 23: 3.84 / 2, 38: 3.84 / 2**0.5})
    vanadium = np.flatnonzero((around.site_element[around.near_site] == 23) & (around.near_element == 8))
    # Six neighbours at half a cell, 24 at the next distance.
    orders = 6 * np.exp(-1.92 / 0.37) + 24 * np.exp(-1.92 * 5**0.5 / 0.37)
    assert around.near_orders[vanadium] == pytest.approx(orders, rel=1e-3)


def test_exchanged_surroundings_are_those_of_the_exchanged_crystals():
    crystals = real_crystals()
    exchanged, owner = Environments.of(crystals).exchanged()
    assert owner.tolist() == [0, 2, 2, 2, 4, 5]
    swaps = [(11, 17), (8, 23), (8, 38), (23, 38), (31, 33), (9, 20)]
    numbers = []
    for index, (one, other) in zip(owner, swaps, strict=True):
        given = crystals.cell(int(index)).atomic_numbers
        numbers.append(np.select([given == one, given == other], [other, one], given))
    expected = Environments.of(replace(crystals.take(owner), atomic_numbers=np.concatenate(numbers)))
    for name in ("site_element", "site_crystal", "volumes_a3"):
        np.testing.assert_array_equal(getattr(exchanged, name), getattr(expected, name))
    order, wanted = (np.lexsort((one.near_element, one.near_site)) for one in (exchanged, expected))
    for name in ("near_site", "near_element", "near_distance", "near_orders"):
        np.testing.assert_allclose(getattr(exchanged, name)[order], getattr(expected, name)[wanted])


def test_without_crystals_there_is_nothing():
    exchanged, owner = Environments.of(real_crystals().take([])).exchanged()
    assert len(owner) == len(exchanged) == 0
    assert all(len(getattr(exchanged, field.name)) == 0 for field in fields(exchanged))
