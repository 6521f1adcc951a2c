import numpy as np
import pytest
from pymatgen.core import Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.building import build_graphs
from mat2spec.graphs.settings import GraphSettings
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt

UNMERGED = GraphSettings(merge_sites=False)


def test_unusable_crystals_are_reported_and_the_others_go_on():
    overlapping = Structure(np.eye(3) * 4, ["Na", "Cl"], [[0, 0, 0], [0.05, 0, 0]])
    isolated = Structure(np.eye(3) * 11.0, ["Ar"], [[0, 0, 0]])
    graphs, problems = build_graphs(Crystals.from_structures([overlapping, perovskite(), isolated]))
    assert "overlap: they are 0.200 Angstrom apart" in problems[0]
    assert problems[1] is None
    assert "isolated atoms" in problems[2]
    assert graphs.n_nodes.tolist() == [0, 3, 0]
    alone, _ = build_graphs(Crystals.from_structures([perovskite()]))
    np.testing.assert_array_equal(graphs[1].edge_length, alone.edge_length)


@pytest.mark.parametrize("graph_settings", [GraphSettings(), UNMERGED])
def test_no_usable_crystal_makes_empty_graphs(graph_settings):
    isolated = Structure(np.eye(3) * 11.0, ["Ar"], [[0, 0, 0]])
    for structures in ([], [isolated, isolated]):
        graphs, problems = build_graphs(Crystals.from_structures(structures), graph_settings)
        assert len(graphs) == len(problems) == len(structures)
        assert graphs.num_nodes == graphs.num_edges == 0


def test_edge_vectors_go_from_the_centre_to_the_neighbour():
    structures = [rock_salt(), low_symmetry()]
    graphs, _ = build_graphs(Crystals.from_structures(structures), UNMERGED)
    np.testing.assert_allclose(graphs.edge_vector.norm(dim=1), graphs.edge_length, atol=2e-4)
    positions = np.concatenate([structure.cart_coords for structure in structures])
    neighbour, centre = graphs.edges.numpy()
    images = positions[neighbour] - positions[centre] - graphs.edge_vector.numpy()
    for index, structure in enumerate(structures):
        own = graphs.batch.numpy()[centre] == index
        cells = structure.lattice.get_fractional_coords(images[own])
        np.testing.assert_allclose(cells, cells.round(), atol=1e-4)
