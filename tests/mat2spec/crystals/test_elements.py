import numpy as np
import pytest

from mat2spec.crystals.elements import count_valence_electrons, element_features


def test_every_element_has_its_own_features():
    table = element_features()
    assert table.shape == (104, 92)
    assert set(np.unique(table)) == {0.0, 1.0}
    # Some lanthanoids and actinoids differ in nothing that is tabulated; up to Bi all others are distinct.
    assert len(np.unique(table[1:58], axis=0)) == 57
    assert len(np.unique(table[72:84], axis=0)) == 12


@pytest.mark.parametrize(
    ("atomic_number", "electrons"),
    [(1, 1), (6, 4), (8, 6), (11, 1), (23, 5), (30, 12), (35, 7), (57, 3), (73, 5), (82, 4), (92, 6)],
)
def test_valence_electrons(atomic_number, electrons):
    assert count_valence_electrons(atomic_number) == electrons
