import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs import GraphSettings, build_graphs, nearest_shells
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt

DEFAULT = GraphSettings()
UNMERGED = GraphSettings(merge_sites=False)


def graph_of(structure, graph_settings=DEFAULT):
    graphs, problems = build_graphs(Crystals.from_structures([structure]), graph_settings)
    assert problems == [None]
    return graphs


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


@settings(max_examples=40, deadline=None)
@given(coordinates, st.tuples(*[st.floats(3, 9)] * 3), st.tuples(*[st.floats(60, 120)] * 3))
def test_growing_radius_finds_what_the_full_search_finds(coords, lengths, angles):
    lattice = Lattice.from_parameters(*lengths, *angles)
    if lattice.volume < 10 * len(coords):
        return
    structure = Structure(lattice, ["Fe"] * len(coords), coords)
    positions, matrix = np.ascontiguousarray(structure.cart_coords), np.ascontiguousarray(lattice.matrix)
    centre, _, distance, _ = nearest_shells(positions, matrix, GraphSettings())
    for atom, expected in enumerate(brute_force(structure, GraphSettings())):
        np.testing.assert_allclose(distance[centre == atom], expected, atol=1e-6)


# Rock salt: 6 unlike and 12 like neighbours of each ion. SrVO3: 12 O about Sr; 6 O and 8 Sr about V;
# 2 V, 4 Sr and 8 O about O.
@pytest.mark.parametrize(("structure", "nodes", "edges"), [(rock_salt(), 2, 4), (perovskite(), 3, 6)])
def test_equivalent_sites_and_links_are_merged(structure, nodes, edges):
    merged, whole = graph_of(structure), graph_of(structure, UNMERGED)
    assert len(merged.atomic_numbers) == nodes
    assert len(merged.distances) == edges
    assert merged.multiplicity.sum() == len(structure) == len(whole.atomic_numbers)
    degree = np.add.reduceat(merged.edge_multiplicity, merged.edge_offsets[:-1])
    assert (degree * merged.multiplicity).sum() == len(whole.distances)


def test_nothing_is_merged_without_symmetry():
    assert len(graph_of(low_symmetry()).atomic_numbers) == 4


def sorted_graph(graphs):
    order = np.lexsort((graphs.distances, np.repeat(graphs.atomic_numbers, np.diff(graphs.edge_offsets))))
    return graphs.distances[order], graphs.edge_multiplicity[order]


@pytest.mark.parametrize("structure", [rock_salt(), perovskite(), low_symmetry()])
def test_supercell_has_the_graph_of_its_primitive_cell(structure):
    cell, supercell = graph_of(structure), graph_of(structure * (2, 1, 3))
    assert supercell.multiplicity.sum() == 6 * cell.multiplicity.sum()
    for mine, theirs in zip(sorted_graph(cell), sorted_graph(supercell), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_shells_are_whole_where_the_twelfth_neighbour_is_one_of_many():
    body_centred = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    graphs = graph_of(body_centred)
    assert graphs.edge_multiplicity.tolist() == [8, 6]


def test_sparse_cell_gets_its_real_neighbours_and_no_more():
    dimer = Structure(np.eye(3) * 12.0, ["N", "N"], [[0, 0, 0], [0, 0, 0.09]])
    graphs = graph_of(dimer)
    assert graphs.edge_multiplicity.sum() == 1
    assert graphs.distances.tolist() == pytest.approx([1.08], abs=1e-4)


def test_unusable_crystals_are_reported_and_the_others_go_on():
    overlapping = Structure(np.eye(3) * 4, ["Na", "Cl"], [[0, 0, 0], [0.05, 0, 0]])
    isolated = Structure(np.eye(3) * 11.0, ["Ar"], [[0, 0, 0]])
    graphs, problems = build_graphs(Crystals.from_structures([overlapping, perovskite(), isolated]))
    assert "overlap: they are 0.200 Angstrom apart" in problems[0]
    assert problems[1] is None
    assert "isolated atoms" in problems[2]
    assert graphs.n_nodes.tolist() == [0, 3, 0]
    alone = graph_of(perovskite())
    np.testing.assert_array_equal(graphs.take(np.array([1])).distances, alone.distances)


def test_a_thousand_atoms_are_no_problem():
    large = rock_salt() * (5, 5, 5)
    graphs = graph_of(large)
    assert graphs.n_atoms.tolist() == [1000]
    assert len(graphs.atomic_numbers) == 2


def test_take_of_all_is_the_whole(crystals):
    graphs, _ = build_graphs(crystals)
    again = graphs.take(np.arange(3))
    for name in graphs.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(graphs, name))
