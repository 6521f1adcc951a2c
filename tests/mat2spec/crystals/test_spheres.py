"""One search for many crystals gives what a search for each gives: closest contacts and shells."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.contacts import NO_CONTACT, closest_contact, closest_contacts
from mat2spec.crystals.spheres import cartesian_coordinates, search_spheres
from mat2spec.graphs.neighbours import nearest_shells, shells_in_spheres
from mat2spec.graphs.settings import GraphSettings
from mat2spec.settings import DATA_DIR
from screening.sources.parquet import ParquetSource
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt

N_CATALOGUE = 60


@pytest.fixture(scope="module")
def crystals():
    """Crystals of the catalogue and some odd ones: dense, sparse, a layer far from the next."""
    source = ParquetSource(DATA_DIR / "catalogue.parquet", limit=N_CATALOGUE)
    layer = Structure(Lattice.hexagonal(2.46, 15), ["C", "C"], [[0, 0, 0.5], [1 / 3, 2 / 3, 0.5]])
    dimer = Structure(np.eye(3) * 12.0, ["N", "N"], [[0, 0, 0], [0, 0, 0.09]])
    odd = [rock_salt(), perovskite(), low_symmetry(), layer, dimer, Structure(np.eye(3) * 11.0, ["Ar"], [[0, 0, 0]])]
    return Crystals.concatenate([source.crystals(sorted(source.ids())), Crystals.from_structures(odd)])


@pytest.fixture(scope="module")
def searched(crystals):
    chosen = np.delete(np.arange(len(crystals)), 3)
    return chosen, search_spheres(crystals, chosen)


def test_contacts_are_those_of_each_crystal(crystals, searched):
    chosen, spheres = searched
    together = closest_contacts(crystals, chosen, spheres)
    for index, contact in zip(chosen, together, strict=True):
        cell = crystals.cell(index)
        alone = closest_contact(cell.lattice, cell.frac_coords, cell.atomic_numbers)
        assert contact.ratio == pytest.approx(alone.ratio, rel=1e-9)
        assert contact.distance_a == pytest.approx(alone.distance_a, rel=1e-9)
        assert sorted(contact[2:]) == sorted(alone[2:])
    assert together[-1] == NO_CONTACT


@pytest.mark.parametrize("settings", [GraphSettings(), GraphSettings(cutoff_a=3.0), GraphSettings(n_neighbours=14)])
def test_shells_are_those_of_each_crystal_where_they_are_certain(crystals, searched, settings):
    chosen, spheres = searched
    positions, certain = cartesian_coordinates(crystals), 0
    for index, edges in zip(chosen, shells_in_spheres(crystals, chosen, spheres, settings), strict=True):
        if edges is None:
            continue
        certain += 1
        atoms = positions[crystals.sites(index)]
        alone = nearest_shells(atoms, crystals.lattices[index], settings)
        np.testing.assert_array_equal(edges.centre, alone.centre)
        np.testing.assert_allclose(edges.distance, alone.distance, atol=1e-9)
        # Among equal distances the order is free.
        for edge in (edges, alone):
            lengths = np.linalg.norm(edge.vectors(atoms, crystals.lattices[index]), axis=1)
            np.testing.assert_allclose(lengths, edge.distance, atol=1e-9)
        pairs = [np.sort(e.centre * len(atoms) + e.neighbour) for e in (edges, alone)]
        np.testing.assert_array_equal(*pairs)
    assert certain >= len(chosen) / 2


def test_nothing_chosen_is_nothing_found(crystals):
    nothing = np.empty(0, dtype=np.int64)
    spheres = search_spheres(crystals, nothing)
    assert closest_contacts(crystals, nothing, spheres) == []
    assert shells_in_spheres(crystals, nothing, spheres, GraphSettings()) == []
