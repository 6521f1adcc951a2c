import numpy as np
import pytest
from pymatgen.core import Composition

from scripts.catalogue.hull import elemental_references, energies_above_hull, formation_energies


def test_references_are_the_lowest_elements():
    compositions = [Composition("Na"), Composition("Na2"), Composition("NaCl")]
    assert elemental_references(compositions, np.array([-1.0, -1.3, -3.0])) == {"Na": -1.3}


def test_formation_energy_is_nan_without_a_reference():
    formation = formation_energies([Composition("NaCl")], np.array([-3.0]), {"Na": -1.0})
    assert np.isnan(formation[0])


def test_energies_above_hull_of_a_known_diagram():
    compositions = [Composition(formula) for formula in ("Al", "Ni", "AlNi", "AlNi3", "AlNi")]
    formation = np.array([0.0, 0.1, -0.4, -0.1, -0.3])
    above = energies_above_hull(compositions, formation)
    assert above == pytest.approx([0.0, 0.1, 0.0, 0.1, 0.1])


def test_a_ternary_sees_its_binaries():
    compositions = [Composition(c) for c in ("NaF", "KNaF2", "KF")]
    above = energies_above_hull(compositions, np.array([-2.0, -1.9, -2.0]))
    assert above == pytest.approx([0.0, 0.1, 0.0])
