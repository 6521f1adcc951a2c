import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from torch_geometric.utils import scatter

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.building import build_graphs
from mat2spec.graphs.merging import merge_equal_edges
from mat2spec.graphs.settings import GraphSettings
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt

DEFAULT = GraphSettings()
UNMERGED = GraphSettings(merge_sites=False)


def graph_of(structure, graph_settings=DEFAULT):
    graphs, problems = build_graphs(Crystals.from_structures([structure]), graph_settings)
    assert problems == [None]
    return graphs


# Rock salt: 6 unlike and 12 like neighbours of each ion. SrVO3: 12 O about Sr; 6 O and 8 Sr about V;
# 2 V, 4 Sr and 8 O about O.
@pytest.mark.parametrize(("structure", "nodes", "edges"), [(rock_salt(), 2, 4), (perovskite(), 3, 6)])
def test_equivalent_sites_and_links_are_merged(structure, nodes, edges):
    merged, whole = graph_of(structure), graph_of(structure, UNMERGED)
    assert merged.num_nodes == nodes
    assert merged.num_edges == edges
    assert merged.multiplicity.sum() == len(structure) == whole.num_nodes
    degree = scatter(merged.edge_multiplicity, merged.edges[1], dim_size=nodes)
    assert (degree * merged.multiplicity).sum() == whole.num_edges


def test_nothing_is_merged_without_symmetry():
    assert graph_of(low_symmetry()).num_nodes == 4


def test_shells_of_one_length_are_one_edge():
    body_centred = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert graph_of(body_centred).edge_multiplicity.tolist() == [8, 6]


def sorted_graph(graphs):
    order = np.lexsort((graphs.edge_length, graphs.atomic_numbers[graphs.edges[1]]))
    return graphs.edge_length[order], graphs.edge_multiplicity[order]


@pytest.mark.parametrize("structure", [rock_salt(), perovskite(), low_symmetry()])
def test_supercell_has_the_graph_of_its_primitive_cell(structure):
    cell, supercell = graph_of(structure), graph_of(structure * (2, 1, 3))
    assert supercell.multiplicity.sum() == 6 * cell.multiplicity.sum()
    for mine, theirs in zip(sorted_graph(cell), sorted_graph(supercell), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_equal_edges_are_counted_and_ordered_by_centre_neighbour_and_length():
    links = merge_equal_edges(
        neighbour=torch.tensor([1, 0, 1, 1, 0, 0]),
        centre=torch.tensor([0, 0, 0, 0, 1, 1]),
        length=torch.tensor([2.5, 1.5, 2.5, 0.5, 1.5, 1.4999]),
        multiplicity=torch.tensor([1, 2, 3, 4, 5, 6], dtype=torch.int32),
    )
    assert links.centre.tolist() == [0, 0, 0, 1, 1]
    assert links.neighbour.tolist() == [0, 1, 1, 0, 0]
    torch.testing.assert_close(links.length, torch.tensor([1.5, 0.5, 2.5, 1.4999, 1.5]), rtol=0, atol=0)
    assert links.multiplicity.tolist() == [2, 4, 4, 6, 5]


def test_a_thousand_atoms_are_no_problem():
    graphs = graph_of(rock_salt() * (5, 5, 5))
    assert graphs.n_atoms.tolist() == [1000]
    assert graphs.num_nodes == 2
