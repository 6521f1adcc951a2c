"""Many crystals as a few arrays, and the sentences that say why a crystal cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa
    from pymatgen.core import Structure

MAX_ATOMIC_NUMBER = 103
MIN_VOLUME_PER_ATOM_A3 = 1.0
MAX_VOLUME_PER_ATOM_A3 = 2000.0
MIN_DISTANCE_A = 0.5


@dataclass(frozen=True)
class Crystals:
    """Crystals as flat arrays: no Python object for an atom.

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
    """

    material_ids: NDArray[np.object_]
    atomic_numbers: NDArray[np.int64]
    frac_coords: NDArray[np.float64]
    lattices: NDArray[np.float64]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.material_ids)

    @property
    def n_sites(self) -> NDArray[np.int64]:
        """Number of sites of each crystal, shape (n_crystals,)."""
        return np.diff(self.offsets)

    @property
    def volumes(self) -> NDArray[np.float64]:
        """Cell volumes in cubic Angstrom, shape (n_crystals,)."""
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
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Crystals]) -> Crystals:
        """All crystals of all parts, in that order."""
        counts = np.concatenate([part.n_sites for part in parts])
        return cls(
            material_ids=np.concatenate([part.material_ids for part in parts]),
            atomic_numbers=np.concatenate([part.atomic_numbers for part in parts]),
            frac_coords=np.concatenate([part.frac_coords for part in parts]),
            lattices=np.concatenate([part.lattices for part in parts]),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        )

    def structure(self, index: int) -> Structure:
        """One crystal as a pymatgen structure."""
        from pymatgen.core import Structure

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

        `lattice` holds 9 numbers (rows, Angstrom) and `frac_coords` 3 per site. No Python object
        is made per atom. A row with other counts becomes a crystal without sites and with a lattice
        of NaN, which `find_problems` reports: one bad row does not stop the others.
        """
        numbers, counts = _list_column(table, "atomic_numbers")
        coordinates, coordinate_counts = _list_column(table, "frac_coords")
        lattice, lattice_counts = _list_column(table, "lattice")
        whole = (lattice_counts == 9) & (coordinate_counts == 3 * counts)
        lattices = np.full((len(whole), 9), np.nan)
        lattices[whole] = lattice[np.repeat(whole, lattice_counts)].reshape(-1, 9)
        return cls(
            material_ids=np.array(table["material_id"].to_pylist(), dtype=object),
            atomic_numbers=numbers[np.repeat(whole, counts)].astype(np.int64),
            frac_coords=coordinates[np.repeat(whole, coordinate_counts)].astype(np.float64).reshape(-1, 3),
            lattices=lattices.reshape(-1, 3, 3),
            offsets=np.concatenate([[0], np.cumsum(np.where(whole, counts, 0))]).astype(np.int64),
        )


def _list_column(table: pa.Table, name: str) -> tuple[NDArray, NDArray[np.int64]]:
    """Values and length of every list of a column; a null list counts as an empty one."""
    import pyarrow.compute as pc

    column = table[name]
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    return pc.list_flatten(column).to_numpy(), lengths


def find_problems(crystals: Crystals) -> list[str | None]:
    """Say for each crystal why no graph can be made of it, or None where one can.

    Checked are what a look at the arrays can tell: sites, finite numbers, known elements, a
    lattice with a volume. Overlapping atoms show in the neighbour search
    (`mat2spec.graphs.build_graphs`).

    Returns
    -------
    list of str or None
        One sentence or None per crystal, length n_crystals.
    """
    n_sites = crystals.n_sites
    atom_crystal = np.repeat(np.arange(len(crystals)), n_sites)
    nan_atoms = _any_per_crystal(
        np.asarray(~np.isfinite(crystals.frac_coords).all(axis=1)), atom_crystal, len(crystals)
    )
    unknown = (crystals.atomic_numbers < 1) | (crystals.atomic_numbers > MAX_ATOMIC_NUMBER)
    unknown_element = _any_per_crystal(unknown, atom_crystal, len(crystals))
    nan_lattice = np.asarray(~np.isfinite(crystals.lattices).all(axis=(1, 2)))
    volumes = np.abs(np.linalg.det(np.where(nan_lattice[:, None, None], np.eye(3), crystals.lattices)))
    per_atom = volumes / np.maximum(n_sites, 1)

    checks: list[tuple[NDArray[np.bool_], str]] = [
        (
            nan_lattice & (n_sites == 0),
            "The row does not hold nine lattice numbers and three coordinates for every atomic number.",
        ),
        (n_sites == 0, "The crystal has no sites."),
        (nan_lattice, "The lattice holds numbers that are not finite."),
        (nan_atoms, "The coordinates hold numbers that are not finite."),
        (unknown_element, f"An atomic number is outside 1..{MAX_ATOMIC_NUMBER}: unknown element."),
        (
            per_atom < MIN_VOLUME_PER_ATOM_A3,
            f"The cell has less than {MIN_VOLUME_PER_ATOM_A3:g} cubic Angstrom per atom: flat lattice or wrong unit.",
        ),
        (
            per_atom > MAX_VOLUME_PER_ATOM_A3,
            f"The cell has more than {MAX_VOLUME_PER_ATOM_A3:g} cubic Angstrom per atom: isolated atoms, no crystal.",
        ),
    ]
    problems: list[str | None] = [None] * len(crystals)
    for failed, sentence in reversed(checks):
        for index in np.flatnonzero(failed):
            problems[index] = sentence
    return problems


def _any_per_crystal(flags: NDArray[np.bool_], crystal: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    return np.asarray(np.bincount(crystal[flags], minlength=size) > 0)
