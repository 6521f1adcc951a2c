"""The vectors of atoms are those of the packaged CHGNet, whatever symmetry leaves to be computed."""

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.bond_graph import BondGraph
from mat2spec.descriptors.chgnet import atom_vectors, load_chgnet
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


def by_package(cell):
    model, outputs = load_chgnet(VERSION), []
    hooks = [layer.register_forward_hook(lambda *given: outputs.append(given[2])) for layer in model.atom_conv_layers]
    structure = Structure(cell.lattice, cell.atomic_numbers, cell.frac_coords)
    with torch.inference_mode():
        model([model.graph_converter(structure)], task="e")
    for hook in hooks:
        hook.remove()
    return torch.cat(outputs, dim=1).numpy()


# Straight angles, of which single precision knows no more, are in all but the first and the last.
@pytest.mark.parametrize(
    ("structure", "tolerance"),
    [
        (low_symmetry(), 1e-4),
        (quartz(), 2e-3),
        (scheelite(), 2e-3),
        (perovskite(), 5e-3),
        (rock_salt_primitive(5.0), 5e-3),
        (far_apart(), 1e-4),
    ],
)
def test_vectors_are_those_of_the_package(structure, tolerance):
    cell = primitive(structure)
    graph = graph_of(cell)
    vectors = atom_vectors(VERSION).of(graph).numpy()[graph.row]
    expected = by_package(cell)
    assert expected.std() > 0.5
    assert np.abs(vectors - expected).max() < tolerance


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
