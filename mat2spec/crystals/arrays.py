"""Many crystals as a few arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pymatgen.core import Structure

from mat2spec.crystals.cell import Cell
from mat2spec.crystals.columns import Lists, atomic_numbers_of_lists, first_of, identifiers, numbers_of_lists
from mat2spec.tables.columns import Column


@dataclass(frozen=True)
class Crystals:
    """Crystals as flat arrays, without a Python object per atom.

    Parameters
    ----------
    material_ids
        Identifiers, shape (n_crystals,), dtype object (str).
    atomic_numbers
        Atomic numbers of all sites, shape (n_atoms,).
    frac_coords
        Fractional coordinates, shape (n_atoms, 3).
    lattices
        Lattice vectors as rows, in Angstrom, shape (n_crystals, 3, 3).
    offsets
        First atom of each crystal and one past the last, shape (n_crystals + 1,).
    problems
        Why each crystal could not be read, as a sentence, or None; shape (n_crystals,). None if all could be read.
    """

    material_ids: NDArray[np.object_]
    atomic_numbers: NDArray[np.int64]
    frac_coords: NDArray[np.float64]
    lattices: NDArray[np.float64]
    offsets: NDArray[np.int64]
    problems: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.material_ids)

    @property
    def n_sites(self) -> NDArray[np.int64]:
        """Number of sites of each crystal, shape (n_crystals,)."""
        return np.diff(self.offsets)

    @property
    def volumes(self) -> NDArray[np.float64]:
        """Cell volumes in cubic Angstrom, shape (n_crystals,); NaN where there is no lattice."""
        with np.errstate(invalid="ignore"):
            return np.abs(np.linalg.det(self.lattices))

    def sites(self, index: int) -> slice:
        """The atoms of one crystal, as a slice into the flat arrays."""
        return slice(int(self.offsets[index]), int(self.offsets[index + 1]))

    def take(self, indices: NDArray[np.integer] | Sequence[int]) -> Crystals:
        """The crystals at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        counts = self.n_sites[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        atoms = np.repeat(self.offsets[chosen] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Crystals(
            material_ids=self.material_ids[chosen],
            atomic_numbers=self.atomic_numbers[atoms],
            frac_coords=self.frac_coords[atoms],
            lattices=self.lattices[chosen],
            offsets=offsets,
            problems=None if self.problems is None else self.problems[chosen],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Crystals]) -> Crystals:
        """All crystals of all parts, in that order."""
        counts = np.concatenate([part.n_sites for part in parts])
        problems = [np.full(len(part), None) if part.problems is None else part.problems for part in parts]
        return cls(
            material_ids=np.concatenate([part.material_ids for part in parts]),
            atomic_numbers=np.concatenate([part.atomic_numbers for part in parts]),
            frac_coords=np.concatenate([part.frac_coords for part in parts]),
            lattices=np.concatenate([part.lattices for part in parts]),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            problems=None if all(part.problems is None for part in parts) else np.concatenate(problems),
        )

    def cell(self, index: int) -> Cell:
        """One crystal as three arrays."""
        sites = self.sites(index)
        return Cell(self.lattices[index], self.frac_coords[sites], self.atomic_numbers[sites])

    def structure(self, index: int) -> Structure:
        """One crystal as a pymatgen structure."""
        atoms = self.sites(index)
        return Structure(self.lattices[index], self.atomic_numbers[atoms].tolist(), self.frac_coords[atoms])

    @classmethod
    def from_structures(cls, structures: Sequence[Structure], material_ids: Iterable[str] | None = None) -> Crystals:
        """Arrays of ordered pymatgen structures.

        Raises
        ------
        ValueError
            If a structure is disordered: partial occupancies have no single graph.
        """
        ids = [f"crystal-{i}" for i in range(len(structures))] if material_ids is None else list(material_ids)
        for material_id, structure in zip(ids, structures, strict=True):
            if not structure.is_ordered:
                raise ValueError(f"{material_id} has partial occupancies; give an ordered structure.")
        return cls.from_lists(
            ids,
            [structure.atomic_numbers for structure in structures],
            [structure.frac_coords for structure in structures],
            [structure.lattice.matrix for structure in structures],
        )

    @classmethod
    def from_lists(
        cls,
        material_ids: Sequence[str],
        atomic_numbers: Sequence[Sequence[int]],
        frac_coords: Sequence[NDArray[np.floating]],
        lattices: Sequence[NDArray[np.floating]],
    ) -> Crystals:
        """Join per-crystal lists of numbers, coordinates (n, 3) and lattices (3, 3)."""
        counts = [len(numbers) for numbers in atomic_numbers]
        coordinates = [np.reshape(np.asarray(c, dtype=np.float64), (-1, 3)) for c in frac_coords]
        return cls(
            material_ids=np.array(list(material_ids), dtype=object),
            atomic_numbers=np.array([z for numbers in atomic_numbers for z in numbers], dtype=np.int64),
            frac_coords=np.concatenate([*coordinates, np.empty((0, 3))]),
            lattices=np.reshape(np.asarray(lattices, dtype=np.float64), (-1, 3, 3)),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        )

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Crystals:
        """Arrays of a table with the columns `material_id`, `lattice`, `frac_coords`, `atomic_numbers`.

        `lattice` holds 9 numbers (rows, Angstrom) and `frac_coords` 3 per site, flat or nested; `atomic_numbers` holds
        numbers or symbols; for the accepted types see `mat2spec.crystals.columns`. No Python object is made per atom. A
        row that cannot be read, or has text in the column `reason`, becomes a crystal with a lattice of NaN and the
        reason in `problems`; it does not affect other rows.

        Raises
        ------
        TableError
            If a whole column has an impossible type.
        """
        numbers = atomic_numbers_of_lists(table[Column.ATOMIC_NUMBERS])
        coordinates = numbers_of_lists(table[Column.FRAC_COORDS], Column.FRAC_COORDS)
        lattice = numbers_of_lists(table[Column.LATTICE], Column.LATTICE)
        problems = first_of(
            numbers.problems, lattice.problems, coordinates.problems, _wrong_counts(numbers, coordinates, lattice)
        )
        if Column.REASON in table.column_names:
            problems = first_of(table[Column.REASON].to_pylist(), problems)
        whole = np.array([problem is None for problem in problems], dtype=np.bool_)
        n_sites = np.where(numbers.problems == None, numbers.lengths, 0)  # noqa: E711  element by element
        lattices = np.full((len(whole), 9), np.nan)
        lattices[whole] = lattice.values[np.repeat(whole, lattice.lengths)].reshape(-1, 9)
        placed = np.full((n_sites.sum(), 3), np.nan)
        placed[np.repeat(whole, n_sites)] = coordinates.values[np.repeat(whole, coordinates.lengths)].reshape(-1, 3)
        return cls(
            material_ids=np.array(identifiers(table[Column.MATERIAL_ID]), dtype=object),
            atomic_numbers=numbers.values[np.repeat(n_sites > 0, numbers.lengths)].astype(np.int64),
            frac_coords=placed,
            lattices=lattices.reshape(-1, 3, 3),
            offsets=np.concatenate([[0], np.cumsum(n_sites)]).astype(np.int64),
            problems=None if whole.all() else problems,
        )

    def to_arrow(self) -> pa.Table:
        """A table with the columns that `from_arrow` reads; crystals and problems are reproduced exactly."""
        nine = np.arange(len(self) + 1, dtype=np.int32) * 9
        sites = self.offsets.astype(np.int32)
        columns = {
            Column.MATERIAL_ID: pa.array(self.material_ids, type=pa.string()),
            Column.LATTICE: pa.ListArray.from_arrays(nine, self.lattices.ravel()),
            Column.FRAC_COORDS: pa.ListArray.from_arrays(3 * sites, self.frac_coords.ravel()),
            Column.ATOMIC_NUMBERS: pa.ListArray.from_arrays(sites, self.atomic_numbers.astype(np.int32)),
        }
        if self.problems is not None:
            columns[Column.REASON] = pa.array(self.problems, type=pa.string())
        return pa.table(columns)


def _wrong_counts(numbers: Lists, coordinates: Lists, lattice: Lists) -> NDArray[np.object_]:
    """What is wrong with the number of values in each row, or None."""
    problems = np.full(len(numbers.lengths), None, dtype=object)
    wrong = (coordinates.lengths != 3 * numbers.lengths) | (lattice.lengths != 9)
    for row in np.flatnonzero(wrong):
        problems[row] = (
            "The row does not hold nine lattice numbers and three coordinates for every atomic number: it has "
            f"{lattice.lengths[row]}, {coordinates.lengths[row]} and {numbers.lengths[row]}."
        )
    return problems
