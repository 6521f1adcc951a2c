"""The choice of crystals: spread, likely gapped metals, formulas."""

from itertools import islice

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from dft_validation.labels.choice import choose, likely_gapped_metals, spread_over_elements
from dft_validation.labels.pool import element_matrix, make_pool
from dft_validation.labels.reserved import Reserved
from dft_validation.settings import DftSettings, LabelSettings
from mat2spec.crystals.arrays import Crystals

CUBE = [[0, 0, 0], [0.5, 0.5, 0.5]]


def pairs(*names):
    structures = [Structure(Lattice.cubic(3.5), list(name), CUBE) for name in names]
    return Crystals.from_structures(structures, ["-".join(name) for name in names])


def pool_of(crystals, **changes):
    return make_pool(crystals, LabelSettings(**changes), DftSettings(), Reserved())


def test_the_spread_takes_the_elements_with_the_fewest_labels():
    crystals = pairs(("Na", "Cl"), ("Na", "Br"), ("Na", "I"), ("K", "F"), ("Ca", "O"))
    counts = np.zeros(119)
    counts[19] = 5  # potassium has labels
    order = list(spread_over_elements(element_matrix(crystals), counts, np.random.default_rng(0)))
    assert sorted(order) == [0, 1, 2, 3, 4]
    # One sodium halide and calcium oxide share no element; the other halides repeat sodium, and potassium comes last.
    assert 4 in order[:2]
    assert order[-1] == 3
    assert counts[19] == 5


def test_the_spread_covers_elements_evenly():
    names = [(c, a) for c in ("Na", "K", "Rb", "Cs") for a in ("F", "Cl", "Br", "I")]
    crystals = pairs(*names)
    order = islice(spread_over_elements(element_matrix(crystals), np.zeros(119), np.random.default_rng(1)), 8)
    used = element_matrix(crystals)[list(order)].sum(axis=0)
    assert used[used > 0].tolist() == [2] * 8


@pytest.mark.parametrize(("names", "expected"), [(("Na", "O"), True), (("Mg", "O"), False), (("Na", "Al"), False)])
def test_a_likely_gapped_metal_has_an_odd_number_of_electrons_and_an_anion(names, expected):
    assert likely_gapped_metals(pairs(names), ("O",)).tolist() == [expected]


def test_electrons_are_counted_in_the_primitive_cell():
    single = Structure(Lattice.cubic(3.5), ["Na", "O"], CUBE)
    moved = single * (2, 1, 1)
    moved.translate_sites([0], [0.02, 0, 0])  # the doubled cell is primitive now, with an even number of electrons
    crystals = Crystals.from_structures([single * (2, 1, 1), single * (2, 2, 1), moved])
    assert likely_gapped_metals(crystals, ("O",)).tolist() == [True, True, False]


def test_one_crystal_of_a_formula_and_the_same_order_every_time():
    crystals = pairs(("Na", "Cl"), ("Cl", "Na"), ("K", "Cl"))
    pool = pool_of(crystals)
    for choice in ("random", "chemistry"):
        settings = LabelSettings(choice=choice, seed=3)
        order = list(choose(pool, settings, np.zeros(119), None))
        assert len({pool.formulas[row] for row in order}) == len(order) == 2
        assert list(choose(pool, settings, np.zeros(119), None)) == order
    both = list(choose(pool, LabelSettings(choice="random", one_per_formula=False), np.zeros(119), None))
    assert sorted(both) == [0, 1, 2]


def test_the_pool_says_why_crystals_are_left_out():
    crystals = pairs(("Na", "Cl"), ("K", "Cl"), ("Fe", "O"), ("Tc", "O"), ("Li", "F"), ("Rb", "I"))
    reserved = Reserved(frozenset(), frozenset({"KCl"}))
    pool = make_pool(crystals, LabelSettings(), DftSettings(), reserved, {"Li-F"}, {"NaCl"})
    assert pool.crystals.material_ids.tolist() == ["Rb-I"]
    assert pool.left_out == {
        "reserved": 1,
        "labelled or failed already": 1,
        "an element that gpaw lacks": 1,
        "an element that is often magnetic": 1,
        "a formula that has a label": 1,
    }
