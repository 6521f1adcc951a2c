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
from mat2spec.crystals.symmetry import find_symmetry
from mat2spec.tables.columns import Column


def count_primitive_sites(crystals: Crystals) -> NDArray[np.int64]:
    """Number of sites of each primitive cell, shape (n_crystals,).

    A cell whose counts of atoms by element have no common divisor is primitive; only other cells are searched for
    translations (moyopy, 0.01 Angstrom). Unusable crystals keep the size of the given cell.
    """
    counts = crystals.n_sites.copy()
    maybe = np.flatnonzero(_common_divisors(crystals) > 1)
    problems = checks.find_problems(crystals.take(maybe))
    for index in (index for index, problem in zip(maybe.tolist(), problems, strict=True) if problem is None):
        counts[index] = _primitive_sites(crystals.cell(index))
    return counts


def _common_divisors(crystals: Crystals) -> NDArray[np.int64]:
    """Greatest common divisor of the numbers of atoms of the elements of each crystal."""
    elements = ElementCounts.from_crystals(crystals)
    divisors = np.zeros(len(crystals), dtype=np.int64)
    np.gcd.at(divisors, elements.crystal, elements.count)
    return divisors


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
