import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive import CellSizes, count_primitive_sites
from mat2spec.crystals.symmetry import find_symmetry
from mat2spec.settings import DATA_DIR
from screening.sources.parquet import ParquetSource
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt, rock_salt_primitive


def counts(*structures):
    return count_primitive_sites(Crystals.from_structures(list(structures))).tolist()


def test_conventional_cells_and_supercells_have_the_sites_of_their_primitive_cell():
    doubled, large = perovskite(), rock_salt()
    doubled.make_supercell([2, 1, 1])
    large.make_supercell([2, 2, 2])
    assert counts(perovskite(), doubled, rock_salt(), rock_salt_primitive(), large) == [5, 5, 2, 2, 2]
    assert counts(low_symmetry()) == [len(low_symmetry())]


def test_a_doubled_cell_with_a_moved_atom_is_primitive():
    moved = perovskite()
    moved.make_supercell([2, 1, 1])
    moved.translate_sites([0], [0.01, 0.0, 0.0])
    assert counts(moved) == [10]


@pytest.mark.parametrize(
    "scaling", [[1, 1, 1], [3, 1, 1], [[1, 1, 0], [0, 2, 1], [0, 0, 1]], [[3, 1, 0], [0, 4, 1], [1, 0, 1]]]
)
def test_crystals_are_as_small_as_a_search_of_every_cell_says(scaling):
    """Also those whose atoms are off by less than the tolerance, or by a little more."""
    source = ParquetSource(DATA_DIR / "catalogue.parquet", limit=60)
    found = source.crystals(sorted(source.ids()))
    structures = [found.structure(index).make_supercell(scaling) for index in range(len(found))]
    for seed, structure in enumerate(structures):
        structure.perturb((0.0, 0.003, 0.02)[seed % 3])
    crystals = Crystals.from_structures(structures)
    sought = [len(find_symmetry(crystals.cell(index)).prim_std_cell.numbers) for index in range(len(crystals))]
    assert count_primitive_sites(crystals).tolist() == sought


def test_a_crystal_that_cannot_be_used_counts_as_it_is():
    flat = Structure(Lattice(np.diag([4.0, 4.0, 1e-9])), ["Na", "Na"], [[0, 0, 0], [0.5, 0.5, 0]])
    assert counts(flat, perovskite()) == [2, 5]
    assert counts() == []


def test_sizes_as_columns_and_back():
    sizes = CellSizes.of_crystals(Crystals.from_structures([rock_salt(), perovskite()]))
    rows = pd.DataFrame({"nsites": sizes.n_sites, **sizes.columns()})
    again = CellSizes.of_rows(rows)
    assert again.n_primitive.tolist() == [2, 5]
    np.testing.assert_array_equal(again.volumes_per_site, sizes.volumes / sizes.n_sites)


def test_a_table_of_an_older_run_counts_its_cells_as_primitive():
    sizes = CellSizes.of_rows(pd.DataFrame({"nsites": [8, 5]}))
    assert sizes.n_primitive.tolist() == [8, 5]
    assert np.isnan(sizes.volumes).all()
