"""The vectors of atoms are those of the packaged CHGNet, whatever symmetry leaves to be computed."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from benchmarks.precision import exact_vectors
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.bond_graph import BondGraph
from mat2spec.descriptors.chgnet import atom_vectors
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt_primitive

VERSION = "0.3.0"


def quartz():
    """Without inversion: some of its atoms are images by rotations alone."""
    lattice = Lattice.hexagonal(4.913, 5.405)
    return Structure.from_spacegroup("P3_221", lattice, ["Si", "O"], [[0.4697, 0, 0], [0.4135, 0.2669, 0.1191]])


def scheelite():
    return Structure.from_spacegroup(
        "I4_1/a",
        Lattice.tetragonal(5.243, 11.376),
        ["Ca", "W", "O"],
        [[0, 0.25, 0.625], [0, 0.25, 0.125], [0.1504, 0.0085, 0.2111]],
    ).get_primitive_structure()


def far_apart():
    """Without bonds, and with edges."""
    return Structure(Lattice.cubic(5.2), ["Ar"], [[0, 0, 0]])


def primitive(structure):
    return PrimitiveCell.of(structure.lattice.matrix, structure.frac_coords, np.array(structure.atomic_numbers))


def graph_of(cell):
    network = atom_vectors(VERSION)
    return BondGraph.of(cell, network.edge_cutoff_a, network.bond_cutoff_a)


@pytest.mark.parametrize(
    "structure",
    [low_symmetry(), quartz(), scheelite(), perovskite(), rock_salt_primitive(5.0), far_apart()],
)
def test_vectors_are_those_of_the_package(structure):
    cell = primitive(structure)
    graph = graph_of(cell)
    vectors = atom_vectors(VERSION).of(graph).numpy()[graph.row]
    expected = exact_vectors(cell)
    assert expected.std() > 0.5
    assert np.abs(vectors - expected).max() < 1e-5 * np.abs(expected).max()


def test_symmetry_leaves_fewer_atoms_and_each_bond_has_its_reverse():
    cell = primitive(scheelite())
    graph = graph_of(cell)
    assert len(graph.atomic_numbers) < cell.n_atoms == len(graph.row)
    assert (graph.bond_length[graph.reverse] == graph.bond_length).all()
    assert (graph.bond_start[graph.reverse] == graph.bond_centre).all()
    assert (graph.bond_centre[graph.first] == graph.bond_centre[graph.second]).all()


def test_several_crystals_are_described_as_each_alone():
    graphs = [graph_of(primitive(one)) for one in (perovskite(), far_apart(), low_symmetry(), quartz())]
    joined = BondGraph.joined(graphs)
    together = atom_vectors(VERSION).of(joined).numpy()[joined.row]
    alone = [atom_vectors(VERSION).of(graph).numpy()[graph.row] for graph in graphs]
    assert together == pytest.approx(np.concatenate(alone), abs=2e-5)


def test_an_atom_without_neighbours_is_refused():
    with pytest.raises(ValueError, match="no neighbour within 6 Angstrom"):
        graph_of(primitive(Structure(Lattice.cubic(7.0), ["Ar"], [[0, 0, 0]])))
