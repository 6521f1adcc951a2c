"""All pairs up to a distance are those that pymatgen finds, in the same cells."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.optimization.neighbors import find_points_in_spheres

from mat2spec.crystals import pair_search
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.pair_search import search_pairs
from mat2spec.settings import DATA_DIR
from screening.sources.parquet import ParquetSource
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt

N_CATALOGUE = 60


@pytest.fixture(scope="module")
def crystals():
    """Crystals of the catalogue and some odd ones: far out of the cell, skewed, flat, with two atoms at one place."""
    source = ParquetSource(DATA_DIR / "catalogue.parquet", limit=N_CATALOGUE)
    skewed = Structure([[3, 0, 0], [25, 4, 0], [8, -11, 5]], ["Na", "Cl"], [[-2.3, 7.1, 0.4], [0.1, 0.6, -5.2]])
    layer = Structure(Lattice.hexagonal(2.46, 45), ["C", "C"], [[0, 0, 0.5], [1 / 3, 2 / 3, 0.5]])
    twice = Structure(np.eye(3) * 4.0, ["N", "N"], [[0.3, 0, 0], [0.3, 1, -2]])
    on_the_edge = Structure(np.eye(3) * 3.0, ["Po", "Po"], [[0, 0, 0], [-1e-17, 0.5, 1 - 1e-16]])
    odd = [rock_salt(), perovskite(), low_symmetry(), skewed, layer, twice, on_the_edge]
    return Crystals.concatenate([source.crystals(sorted(source.ids())), Crystals.from_structures(odd)])


def by_pymatgen(crystals, index, radius):
    lattice = np.ascontiguousarray(crystals.lattices[index])
    atoms = np.ascontiguousarray((crystals.frac_coords[crystals.sites(index)] % 1.0) @ lattice)
    periodic = np.ones(3, dtype=np.int64)
    centre, neighbour, cell, distance = find_points_in_spheres(atoms, atoms, radius, periodic, lattice, 1e-8)
    others = (centre != neighbour) | cell.any(axis=1)
    return np.column_stack([centre, neighbour, cell])[others], distance[others]


@pytest.mark.parametrize("most_distances", [pair_search.MOST_DISTANCES, 0, 5000])
def test_pairs_are_those_of_pymatgen(crystals, most_distances, monkeypatch):
    """Also where some crystals, or all, have too many distances to be in memory at once."""
    monkeypatch.setattr(pair_search, "MOST_DISTANCES", most_distances)
    # No distance of these crystals is as near to a radius as rounding.
    radius = np.random.default_rng(0).uniform(2.5, 7.5, len(crystals))
    pairs = search_pairs(crystals, radius)
    assert (np.diff(pairs.centre) >= 0).all()
    starts = np.searchsorted(pairs.centre, crystals.offsets)
    for index in range(len(crystals)):
        rows, first = slice(starts[index], starts[index + 1]), crystals.offsets[index]
        ends = np.column_stack(
            [pairs.centre[rows] - first, pairs.neighbour[rows] - first, pairs.cells[pairs.cell[rows]]]
        )
        wanted, distance = by_pymatgen(crystals, index, radius[index])
        assert len(ends) == len(wanted)
        order, other = np.lexsort(ends.T), np.lexsort(wanted.T)
        np.testing.assert_array_equal(ends[order], wanted[other])
        np.testing.assert_allclose(pairs.distance_a[rows][order], distance[other], rtol=1e-12, atol=1e-6)


def test_nothing_searched_is_nothing_found(crystals):
    assert [len(column) for column in search_pairs(crystals.take([]), np.empty(0))] == [0] * 5
