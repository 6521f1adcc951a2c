import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from mat2spec.graphs.neighbours import nearest_shells
from mat2spec.graphs.settings import GraphSettings


def shells_of(structure):
    positions = np.ascontiguousarray(structure.cart_coords)
    return nearest_shells(positions, np.ascontiguousarray(structure.lattice.matrix), GraphSettings())


def brute_force(structure, graph_settings):
    """Neighbour distances of every atom by pymatgen's full search, nearest shells kept."""
    centre, _, _, distance = structure.get_neighbor_list(graph_settings.cutoff_a)
    kept = []
    for atom in range(len(structure)):
        own = np.sort(distance[centre == atom])
        limit = own[graph_settings.n_neighbours - 1] if len(own) >= graph_settings.n_neighbours else np.inf
        kept.append(own[own <= limit + graph_settings.shell_tolerance_a])
    return kept


coordinates = st.lists(st.tuples(*[st.floats(0, 1, exclude_max=True)] * 3), min_size=1, max_size=5)


@settings(max_examples=40)
@given(coordinates, st.tuples(*[st.floats(3, 9)] * 3), st.tuples(*[st.floats(60, 120)] * 3))
def test_growing_radius_finds_what_the_full_search_finds(coords, lengths, angles):
    lattice = Lattice.from_parameters(*lengths, *angles)
    if lattice.volume < 10 * len(coords):
        return
    structure = Structure(lattice, ["Fe"] * len(coords), coords)
    edges = shells_of(structure)
    for atom, expected in enumerate(brute_force(structure, GraphSettings())):
        np.testing.assert_allclose(edges.distance[edges.centre == atom], expected, atol=1e-6)
    vectors = edges.vectors(structure.cart_coords, lattice.matrix)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), edges.distance, atol=1e-6)


def test_shells_are_whole_where_the_twelfth_neighbour_is_one_of_many():
    iron = Structure(1.435 * (np.ones((3, 3)) - 2 * np.eye(3)), ["Fe"], [[0, 0, 0]])
    distances, counts = np.unique(shells_of(iron).distance.round(4), return_counts=True)
    assert counts.tolist() == [8, 6]
    assert distances.tolist() == pytest.approx([1.435 * 3**0.5, 2.87], abs=1e-4)


def test_sparse_cell_gets_its_real_neighbours_and_no_more():
    dimer = Structure(np.eye(3) * 12.0, ["N", "N"], [[0, 0, 0], [0, 0, 0.09]])
    edges = shells_of(dimer)
    assert edges.centre.tolist() == [0, 1]
    assert edges.distance.tolist() == pytest.approx([1.08, 1.08])
