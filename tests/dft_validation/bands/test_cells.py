"""Preparation of cells: symmetry restored, nothing else changed."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from dft_validation.bands.cells import choose_mesh, count_irreducible, prepare_cell
from mat2spec.crystals.cell import Cell, cell_of

TOLERANCE = 0.01


def perovskite():
    positions = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return cell_of(Structure(Lattice.cubic(3.85), ["Sr", "V", "O", "O", "O"], positions))


def disturbed(cell, rng, amplitude=1e-3):
    strain = np.eye(3) + rng.normal(scale=amplitude / 4, size=(3, 3))
    moves = rng.normal(scale=amplitude, size=cell.frac_coords.shape) @ np.linalg.inv(cell.lattice)
    return Cell(cell.lattice @ strain, cell.frac_coords + moves, cell.atomic_numbers)


def distances(cell):
    structure = Structure(cell.lattice, cell.atomic_numbers.tolist(), cell.frac_coords)
    return np.sort(structure.distance_matrix.ravel())


def test_rounding_no_longer_multiplies_the_kpoints(rng):
    exact, rough = perovskite(), disturbed(perovskite(), rng)
    mesh = choose_mesh(exact, 350)
    assert mesh == (4, 4, 4)
    assert count_irreducible(exact, mesh) == 10
    assert count_irreducible(rough, mesh) == 36
    prepared = prepare_cell(rough, TOLERANCE)
    assert count_irreducible(prepared, choose_mesh(prepared, 350)) == 10


def test_preparation_moves_atoms_less_than_the_tolerance(rng):
    rough = disturbed(perovskite(), rng)
    prepared = prepare_cell(rough, TOLERANCE)
    np.testing.assert_allclose(distances(prepared), distances(rough), atol=TOLERANCE)
    assert prepared.volume == pytest.approx(rough.volume, rel=1e-3)
    np.testing.assert_array_equal(prepared.atomic_numbers, rough.atomic_numbers)


def test_the_origin_moves_to_the_centre_of_symmetry():
    shifted = perovskite()
    shifted = Cell(shifted.lattice, np.add(shifted.frac_coords, [0.13, 0.27, 0.41]), shifted.atomic_numbers)
    assert count_irreducible(shifted, (4, 4, 4)) == 36
    assert count_irreducible(prepare_cell(shifted, TOLERANCE), (4, 4, 4)) == 10


def test_a_supercell_is_reduced_and_a_primitive_cell_stays():
    aluminium = Structure(Lattice.cubic(4.05), ["Al"] * 4, [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    assert prepare_cell(cell_of(aluminium), TOLERANCE).n_atoms == 1
    cell = perovskite()
    np.testing.assert_allclose(prepare_cell(cell, TOLERANCE).lattice, cell.lattice, atol=1e-9)


def test_zero_tolerance_leaves_the_crystal_alone(rng):
    rough = disturbed(perovskite(), rng)
    assert prepare_cell(rough, 0) is rough


@pytest.mark.parametrize(
    ("lengths", "expected"), [((3, 3, 3), (7, 7, 7)), ((3, 3, 30), (15, 15, 2)), ((2, 2, 400), (41, 41, 1))]
)
def test_the_mesh_follows_the_reciprocal_lengths(lengths, expected):
    cell = Cell(np.diag(np.array(lengths, dtype=float)), np.zeros((1, 3)), np.array([13]))
    assert choose_mesh(cell, 350) == expected


@pytest.mark.parametrize("density", [1, 30, 150, 400])
def test_an_even_mesh_holds_the_boundary_of_the_zone(density):
    cell = Cell(np.diag([3.0, 5.0, 9.0]), np.zeros((1, 3)), np.array([11]))
    mesh = choose_mesh(cell, density, even=True)
    assert all(n >= 2 and n % 2 == 0 for n in mesh)
    assert max(abs(n - m) for n, m in zip(mesh, choose_mesh(cell, density), strict=True)) <= 1
