"""Free parameters and orbits of bonds and angles."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from scripts.catalogue.candidates import template_prototype
from scripts.catalogue.symmetry import orbit_table, symmetric_cell
from scripts.catalogue.templates import TEMPLATES

PARAMETERS = {
    "AB_cF8_225_a_b": 1,
    "AB3C_cP5_221_a_c_b": 1,
    "ABC_cF12_216_b_c_a": 1,
    "AB_hP4_194_c_a": 2,
    "A2B_tP6_136_f_a": 3,
    "AB2_hP6_194_c_f": 3,
    "AB_oP8_62_c_c": 7,
}


@pytest.mark.parametrize(("label", "expected"), PARAMETERS.items())
def test_symmetry_leaves_the_textbook_number_of_parameters(label, expected):
    template = next(t for t in TEMPLATES if t.prototype == label)
    assert template_prototype(template).cell.n_parameters == expected


def test_every_parameter_keeps_the_space_group():
    cell = template_prototype(next(t for t in TEMPLATES if t.prototype == "A2B_tP6_136_f_a")).cell
    lattice = cell.lattice @ (np.eye(3) + 0.05 * cell.strain_basis.sum(axis=0))
    frac = cell.frac_coords + 0.1 * cell.displacement_basis.sum(axis=0)
    moved = Structure(Lattice(lattice), ["Ti" if slot == 0 else "O" for slot in cell.slots], frac)
    assert moved.get_space_group_info()[1] == 136


@pytest.mark.parametrize("label", ["AB3C_cP5_221_a_c_b", "A2B_tP6_136_f_a", "A3B_cP8_223_c_a"])
def test_orbits_count_every_bond_and_angle_once(label):
    cell = template_prototype(next(t for t in TEMPLATES if t.prototype == label)).cell
    table = orbit_table(cell, 6.0, 3.5)
    structure = Structure(Lattice(cell.lattice), ["H"] * len(cell.slots), cell.frac_coords)
    centers, _, _, lengths = structure.get_neighbor_list(r=6.0)
    orbits = cell.site_orbits
    counted = np.bincount(table.edge_center, weights=table.edge_multiplicity)
    expected = np.bincount(orbits[centers]) / np.bincount(orbits)
    np.testing.assert_array_equal(counted, expected)
    sizes = np.bincount(orbits)
    near = np.bincount(centers[lengths < 3.5], minlength=len(structure))
    vertex = cell.representatives[table.angle_center]
    bonds = table.edge_multiplicity * sizes[table.edge_center]
    ends = np.bincount(table.edge_bond, weights=bonds) / 2
    n_angles = (table.angle_multiplicity * ends[table.angle_bond_i]).sum()
    assert n_angles == (near * (near - 1)).sum()
    assert set(vertex) <= set(cell.representatives)


def test_a_cell_without_symmetry_keeps_all_parameters():
    structure = Structure(
        Lattice.from_parameters(4, 5, 6, 80, 95, 107), ["Na", "Cl", "K"], [[0, 0, 0], [0.3, 0.4, 0.2], [0.7, 0.1, 0.6]]
    )
    cell = symmetric_cell(structure, np.array([0, 1, 2]))
    assert len(cell.rotations) == 1
    assert cell.n_parameters == 6 + 3 * 3 - 3
