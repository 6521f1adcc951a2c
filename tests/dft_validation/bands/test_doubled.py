"""A doubled cell: the same crystal, moments that alternate, and no symmetry left."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from pymatgen.core import Lattice, Structure

from dft_validation.bands.doubled import DISPLACEMENT_A, alternate, cell_to_compute, double_cell
from mat2spec.crystals.cell import cell_of


def rock_salt(cation="Ni", anion="O"):
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.17), [cation, anion], [[0, 0, 0], [0.5] * 3])
    return cell_of(structure.get_primitive_structure())


def perovskite():
    positions = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return cell_of(Structure(Lattice.cubic(3.85), ["La", "Mn", "O", "O", "O"], positions))


def structure_of(cell):
    return Structure(cell.lattice, cell.atomic_numbers.tolist(), cell.frac_coords)


@pytest.mark.parametrize("cell", [rock_salt(), rock_salt("Na", "Cl"), perovskite()])
def test_it_is_twice_the_crystal_with_atoms_displaced_a_little(cell):
    doubled = double_cell(cell)
    assert doubled.volume == pytest.approx(2 * cell.volume)
    assert doubled.atomic_numbers.tolist() == cell.atomic_numbers.tolist() * 2
    given, found = structure_of(cell).composition, structure_of(doubled).composition
    assert found.reduced_formula == given.reduced_formula
    nearest = [structure_of(one).get_all_neighbors(2.5) for one in (cell, doubled)]
    assert [len(shell) for shell in nearest[1]] == [len(shell) for shell in nearest[0]] * 2
    lengths = [min(site.nn_distance for shell in shells for site in shell) for shells in nearest if shells[0]]
    assert all(abs(length - lengths[0]) < 6 * DISPLACEMENT_A for length in lengths)


def test_it_has_no_symmetry_and_is_always_the_same():
    doubled = double_cell(perovskite())
    assert len(spglib.get_symmetry(doubled.as_tuple(), symprec=1e-4)["rotations"]) == 1
    np.testing.assert_array_equal(doubled.frac_coords, double_cell(perovskite()).frac_coords)


def antiparallel(cell, symbol, distance):
    """Neighbours of opposite and of equal moment of the first atom of an element."""
    doubled = double_cell(cell)
    structure = structure_of(doubled)
    structure.add_site_property("sign", alternate([1.0] * len(structure)))
    site = next(site for site in structure if site.specie.symbol == symbol)
    near = [other for other in structure.get_neighbors(site, distance) if other.specie.symbol == symbol]
    signs = [site.properties["sign"] * other.properties["sign"] for other in near]
    return signs.count(-1.0), signs.count(1.0)


def test_near_moments_alternate_as_far_as_the_lattice_lets_them():
    assert antiparallel(perovskite(), "Mn", 4.1) == (6, 0)
    assert antiparallel(rock_salt(), "Ni", 3.2) == (8, 4)


def test_moments_of_one_primitive_cell_alternate_too():
    chain = cell_of(Structure(Lattice.orthorhombic(6, 6, 5), ["Fe", "Fe"], [[0, 0, 0], [0, 0, 0.5]]))
    assert antiparallel(chain, "Fe", 2.8) == (2, 0)
    many = cell_of(Structure(Lattice.orthorhombic(6, 6, 30), ["Fe"] * 12, [[0, 0, z / 12] for z in range(12)]))
    assert antiparallel(many, "Fe", 2.8) == (2, 0)


def test_the_settings_say_which_cell():
    assert cell_to_compute(perovskite(), 0.01, doubled=False).n_atoms == 5
    assert cell_to_compute(perovskite(), 0.01, doubled=True).n_atoms == 10
