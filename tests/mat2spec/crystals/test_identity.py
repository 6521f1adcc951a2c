"""Identity of a crystal: the hash that results are kept under."""

import numpy as np

from mat2spec.crystals.cell import Cell
from mat2spec.crystals.identity import structure_hash

SALT = (
    np.array([[0, 2.8, 2.8], [2.8, 0, 2.8], [2.8, 2.8, 0]]),
    np.array([[0, 0, 0], [0.5, 0.5, 0.5]]),
    np.array([11, 17]),
)


def test_the_hash_stays_what_labels_and_cached_results_are_kept_under():
    assert structure_hash(Cell(*SALT)) == "35d69c62ecea0888"


def test_rounding_and_lattice_translations_do_not_change_it_elements_and_distances_do():
    lattice, coordinates, numbers = SALT
    assert structure_hash(Cell(lattice + 1e-8, coordinates + 1.0, numbers)) == structure_hash(Cell(*SALT))
    assert structure_hash(Cell(lattice * 1.001, coordinates, numbers)) != structure_hash(Cell(*SALT))
    assert structure_hash(Cell(lattice, coordinates, numbers[::-1])) != structure_hash(Cell(*SALT))
