"""Cells of twice the size and lower symmetry, in which electrons may order as they cannot in the primitive cell.

A calculation keeps the symmetry that it starts with. Without spin, in the smallest cell and with every atom on its
symmetric site, many insulators are therefore metals on paper (Malyi and Zunger, Appl. Phys. Rev. 7, 041310, 2020): their
moments alternate, their charges or orbitals order in a larger cell. The doubled cell is the one in which moments alternate
best among near neighbours, as by Luttinger and Tisza (Phys. Rev. 70, 954, 1946) with the seven wave vectors that
double a cell.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice

from dft_validation.bands.cells import prepare_cell
from mat2spec.crystals.cell import Cell
from mat2spec.crystals.composition import symbols
from mat2spec.crystals.magnetism import open_shell_elements

# Root mean square displacement of an atom in Angstrom: enough to leave no symmetry, too little to cost energy.
DISPLACEMENT_A = 0.03
_SEED = 2022
# Decay of the coupling of two moments with their distance.
_COUPLING_POWER = 6
# With more moments in the primitive cell, signs are improved one by one instead of all being tried.
_MOMENTS_TO_TRY = 10
_WAVE_VECTORS = np.array([k for k in product((0, 1), repeat=3) if any(k)])
_TRANSLATIONS = np.array(list(product(range(-2, 3), repeat=3)))


def cell_to_compute(cell: Cell, symmetry_tolerance_a: float, *, doubled: bool) -> Cell:
    """The primitive cell with exact symmetry (`prepare_cell`), or the doubled one of lower symmetry."""
    prepared = prepare_cell(cell, symmetry_tolerance_a)
    return double_cell(prepared) if doubled else prepared


def double_cell(cell: Cell) -> Cell:
    """Twice the cell, with displaced atoms: those whose moments start up come first, those with moments down second.

    Parameters
    ----------
    cell
        A primitive cell of n atoms.

    Returns
    -------
    Cell
        2n atoms. Atom n + i is atom i one lattice vector away, so that the moment of the cell is zero at the start.
    """
    wave_vector, signs = _alternating(cell)
    axis = int(np.flatnonzero(wave_vector)[0])
    # Lattice vectors along which the moments repeat.
    steps = np.eye(3, dtype=np.int64)
    for other in range(3):
        if other == axis:
            steps[other, axis] = 2
        elif wave_vector[other]:
            steps[other, axis] = -1
    shift = np.eye(3)[axis]
    first = cell.frac_coords + np.where(signs[:, None] > 0, 0.0, shift)
    second = cell.frac_coords + np.where(signs[:, None] > 0, shift, 0.0)
    lattice = np.asarray(Lattice(steps @ cell.lattice).get_lll_reduced_lattice().matrix)
    coordinates = np.concatenate([first, second]) @ cell.lattice @ np.linalg.inv(lattice)
    moved = np.random.default_rng(_SEED).normal(size=coordinates.shape) * DISPLACEMENT_A / np.sqrt(3)
    # The crystal as a whole stays where it is.
    moved -= moved.mean(axis=0)
    return Cell(lattice, coordinates + moved @ np.linalg.inv(lattice), np.tile(cell.atomic_numbers, 2))


def alternate(moments: list[float]) -> list[float]:
    """Moments of the atoms of a doubled cell, up in its first half and down in its second."""
    half = len(moments) // 2
    return [abs(moment) if index < half else -abs(moment) for index, moment in enumerate(moments)]


def _alternating(cell: Cell) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Wave vector in halves of the reciprocal vectors, and signs of the moments, with the lowest energy of near neighbours."""
    carriers = _carriers(cell)
    best: tuple[float, int, NDArray[np.int64]] | None = None
    for index, wave_vector in enumerate(_WAVE_VECTORS):
        coupling = _coupling(cell, carriers, wave_vector)
        signs = _lowest_signs(coupling)
        energy = round(float(signs @ coupling @ signs), 9)
        if best is None or (energy, index) < best[:2]:
            best = energy, index, signs
    assert best is not None
    all_signs = np.ones(cell.n_atoms, dtype=np.int64)
    all_signs[carriers] = best[2]
    return _WAVE_VECTORS[best[1]], all_signs


def _carriers(cell: Cell) -> NDArray[np.int64]:
    """Atoms that may hold a moment; all of them where no element has an open shell."""
    names = [symbols()[int(number)] for number in cell.atomic_numbers]
    found = open_shell_elements(set(names))
    return np.array([row for row, name in enumerate(names) if name in found or not found], dtype=np.int64)


def _coupling(cell: Cell, carriers: NDArray[np.int64], wave_vector: NDArray[np.int64]) -> NDArray[np.float64]:
    """Antiferromagnetic coupling of the moments of a primitive cell if they alternate with the wave vector, shape (m, m)."""
    positions = cell.frac_coords[carriers]
    between = positions[None, :, None] - positions[:, None, None] + _TRANSLATIONS
    distances = np.linalg.norm(between @ cell.lattice, axis=-1)
    smallest = distances[distances > 1e-6].min()
    with np.errstate(divide="ignore"):
        strength = np.where(distances > 1e-6, (distances / smallest) ** -float(_COUPLING_POWER), 0.0)
    phases = (-1.0) ** (_TRANSLATIONS @ wave_vector)
    return np.asarray(strength @ phases)


def _lowest_signs(coupling: NDArray[np.float64]) -> NDArray[np.int64]:
    """Signs with the lowest energy, the first one positive."""
    size = len(coupling)
    if size <= _MOMENTS_TO_TRY:
        tried = np.array([(1, *rest) for rest in product((1, -1), repeat=size - 1)], dtype=np.int64)
        energies = np.einsum("ti,ij,tj->t", tried, coupling, tried)
        return np.asarray(tried[int(np.round(energies, 9).argmin())])
    signs = np.where(np.linalg.eigh(coupling)[1][:, 0] >= 0, 1, -1)
    for _ in range(size):
        gains = signs * (coupling @ signs) - np.diag(coupling)
        worst = int(gains.argmax())
        if gains[worst] <= 1e-9:
            break
        signs[worst] *= -1
    return np.asarray(signs * signs[0], dtype=np.int64)
