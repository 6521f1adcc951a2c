"""Sizes of cells: the number of sites in the primitive cell, whatever cell a crystal was given in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mat2spec.crystals import checks
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.cell import Cell
from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.spheres import crystal_of_atoms
from mat2spec.crystals.symmetry import SYMMETRY_TOLERANCE_A, find_symmetry
from mat2spec.tables.columns import Column

# Tolerance of what could be a translation, ten times that of the search for one.
_LOOSE_A = 10 * SYMMETRY_TOLERANCE_A
# Atoms that are moved together; the first that finds no place ends a search.
_FEW = 4


def count_primitive_sites(crystals: Crystals) -> NDArray[np.int64]:
    """Number of sites of each primitive cell, shape (n_crystals,).

    Only cells that could have a translation of their own are searched for it (moyopy, 0.01 Angstrom). Unusable crystals keep
    the size of the given cell.
    """
    counts = crystals.n_sites.copy()
    maybe = np.flatnonzero(_could_be_divided(crystals))
    problems = checks.find_problems(crystals.take(maybe))
    for index in (index for index, problem in zip(maybe.tolist(), problems, strict=True) if problem is None):
        counts[index] = _primitive_sites(crystals.cell(index))
    return counts


def _could_be_divided(crystals: Crystals) -> NDArray[np.bool_]:
    """Whether each crystal could have a translation that is none of its lattice, shape (n_crystals,).

    It would map the atoms of each element on each other in groups as large as the number of smaller cells, so that this divides
    all counts of atoms, and the translation is a fraction of the lattice vectors with the greatest common divisor of these
    counts as denominator. One of them maps the first atom of the rarest element on another.
    """
    divisors, rarest = _common_divisors(crystals)
    crystal = crystal_of_atoms(crystals)
    atoms = np.flatnonzero((divisors[crystal] > 1) & (crystals.atomic_numbers == rarest[crystal]))
    owner, first = np.unique(crystal[atoms], return_index=True)
    first_atom = np.zeros(len(crystals), dtype=np.int64)
    first_atom[owner] = atoms[first]
    atoms = np.delete(atoms, first)
    owner = crystal[atoms]
    shift = crystals.frac_coords[atoms] - crystals.frac_coords[first_atom[owner]]
    denominator = divisors[owner, None]
    with np.errstate(invalid="ignore"):
        off = shift - np.rint(shift * denominator) / denominator
        off_a = np.linalg.norm(np.einsum("ai,aij->aj", off, crystals.lattices[owner]), axis=1)
    possible = np.zeros(len(crystals), dtype=np.bool_)
    for index, vector in zip(owner[off_a < _LOOSE_A].tolist(), shift[off_a < _LOOSE_A], strict=True):
        possible[index] = possible[index] or _maps_on_itself(crystals.cell(index), vector)
    return possible | _is_fine_grained(crystals, divisors)


def _common_divisors(crystals: Crystals) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Greatest common divisor of the numbers of atoms of the elements of each crystal, and the rarest of its elements."""
    elements = ElementCounts.from_crystals(crystals)
    divisors, rarest = np.zeros((2, len(crystals)), dtype=np.int64)
    np.gcd.at(divisors, elements.crystal, elements.count)
    by_count = np.argsort(-elements.count, kind="stable")
    rarest[elements.crystal[by_count]] = elements.atomic_number[by_count]
    return divisors, rarest


def _is_fine_grained(crystals: Crystals, divisors: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether fractions of the lattice vectors lie so near to each other that any atom is near to one, shape (n_crystals,)."""
    finite = np.asarray(np.isfinite(crystals.lattices).all(axis=(1, 2)))
    lattices = np.where(finite[:, None, None], crystals.lattices, np.eye(3))
    faces = np.linalg.norm(np.cross(np.roll(lattices, -1, axis=1), np.roll(lattices, -2, axis=1)), axis=2)
    heights = np.abs(np.linalg.det(lattices)) / faces.max(axis=1)
    return (divisors > 1) & (heights < 2 * divisors * _LOOSE_A)


def _maps_on_itself(cell: Cell, shift: NDArray[np.float64]) -> bool:
    """Whether each atom lies near one of its element after a translation by fractions of the lattice vectors."""
    moved = cell.frac_coords + shift
    for start in range(0, cell.n_atoms, _FEW):
        atoms = slice(start, start + _FEW)
        between = moved[atoms, None] - cell.frac_coords
        between -= np.rint(between)
        squares = ((between.reshape(-1, 3) @ cell.lattice) ** 2).sum(axis=1).reshape(-1, cell.n_atoms)
        near = (squares < _LOOSE_A**2) & (cell.atomic_numbers[atoms, None] == cell.atomic_numbers)
        if not near.any(axis=1).all():
            return False
    return True


def _primitive_sites(cell: Cell) -> int:
    try:
        return len(find_symmetry(cell).prim_std_cell.numbers)
    except ValueError:
        return cell.n_atoms


@dataclass(frozen=True)
class CellSizes:
    """Sizes of the given and of the primitive cells of crystals.

    Parameters
    ----------
    n_sites
        Sites of the given cells, shape (n,).
    n_primitive
        Sites of the primitive cells, shape (n,).
    volumes
        Volumes of the given cells in cubic Angstrom, shape (n,); NaN where unknown.
    """

    n_sites: NDArray[np.int64]
    n_primitive: NDArray[np.int64]
    volumes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.n_sites)

    def take(self, rows: NDArray[np.integer]) -> CellSizes:
        """Those of some cells."""
        return CellSizes(self.n_sites[rows], self.n_primitive[rows], self.volumes[rows])

    @classmethod
    def of_crystals(cls, crystals: Crystals) -> CellSizes:
        """Sizes of the cells of crystals."""
        return cls(crystals.n_sites, count_primitive_sites(crystals), crystals.volumes)

    @classmethod
    def of_rows(cls, rows: pd.DataFrame) -> CellSizes:
        """Sizes from a table; without `nsites_primitive`, as in older runs, cells count as primitive."""
        n_sites = rows[Column.NSITES].to_numpy(dtype=np.int64)
        absent = pd.Series(np.nan, index=rows.index)
        primitive = pd.Series(rows.get(Column.NSITES_PRIMITIVE, absent)).fillna(rows[Column.NSITES])
        volumes = pd.Series(rows.get(Column.VOLUME, absent))
        return cls(n_sites, primitive.to_numpy(dtype=np.int64), volumes.to_numpy(dtype=np.float64, na_value=np.nan))

    @property
    def volumes_per_site(self) -> NDArray[np.float64]:
        """Cubic Angstrom, shape (n,)."""
        return self.volumes / self.n_sites

    def columns(self) -> dict[str, NDArray]:
        """The columns of a table besides `nsites`."""
        return {Column.NSITES_PRIMITIVE: self.n_primitive, Column.VOLUME: self.volumes}
