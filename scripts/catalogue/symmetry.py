"""Space-group symmetry of a cell: free parameters, and orbits of bonds and angles.

A scalar message-passing potential gives symmetry-equivalent atoms, bonds and angles the same features, so
one representative of each orbit with its multiplicity is enough. Bonds and angles are tabulated once for a
prototype and serve every set of elements on it, whatever the lattice parameters, as long as the symmetry stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element, Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_IMAGE_BASE = 256


@dataclass(frozen=True)
class SymmetricCell:
    """A primitive cell with its space-group operations and symmetry-allowed degrees of freedom.

    Attributes
    ----------
    lattice
        Row vectors in Angstrom, (3, 3).
    frac_coords
        Fractional coordinates, (N, 3).
    slots
        Index of the element slot of each site, (N,).
    rotations
        Rotations in fractional coordinates, acting on column vectors, (G, 3, 3).
    permutations
        Site onto which operation g moves site i, (G, N).
    shifts
        Lattice translation that comes with that move, (G, N, 3).
    strain_basis
        Orthonormal symmetric strains that keep the symmetry, (S, 3, 3).
    displacement_basis
        Fractional displacements that keep the symmetry, each of norm 1 Angstrom in `lattice`, (D, N, 3).
    """

    lattice: FloatArray
    frac_coords: FloatArray
    slots: IntArray
    rotations: IntArray
    permutations: IntArray
    shifts: IntArray
    strain_basis: FloatArray
    displacement_basis: FloatArray

    @property
    def representatives(self) -> IntArray:
        """Smallest site index of each orbit of sites, (A,)."""
        return np.unique(self.permutations.min(axis=0))

    @property
    def site_orbits(self) -> IntArray:
        """Orbit index of each site, (N,)."""
        return np.searchsorted(self.representatives, self.permutations.min(axis=0))

    @property
    def n_parameters(self) -> int:
        """Number of free parameters: strains and internal displacements."""
        return len(self.strain_basis) + len(self.displacement_basis)


def symmetric_cell(structure: Structure, slots: IntArray, symprec: float = 1e-3) -> SymmetricCell:
    """Find the symmetry of a primitive structure whose sites carry the given element slots.

    Parameters
    ----------
    structure
        Primitive, idealised cell.
    slots
        Slot index of each site, (N,); sites of different slots are never equivalent.
    symprec
        Distance tolerance in Angstrom.
    """
    labelled = Structure(structure.lattice, [Element.from_Z(int(slot) + 1) for slot in slots], structure.frac_coords)
    dataset = SpacegroupAnalyzer(labelled, symprec=symprec).get_symmetry_dataset()
    rotations = np.asarray(dataset.rotations, dtype=np.int64)
    frac = np.asarray(structure.frac_coords, dtype=float)
    permutations, shifts = _site_moves(rotations, np.asarray(dataset.translations), frac, slots, structure.lattice)
    lattice = np.array(structure.lattice.matrix, dtype=float)
    cartesian = np.einsum("ab,gbc,cd->gad", lattice.T, rotations, np.linalg.inv(lattice.T))
    return SymmetricCell(
        lattice=lattice,
        frac_coords=frac,
        slots=np.asarray(slots, dtype=np.int64),
        rotations=rotations,
        permutations=permutations,
        shifts=shifts,
        strain_basis=_invariant_strains(cartesian),
        displacement_basis=_invariant_displacements(cartesian, permutations) @ np.linalg.inv(lattice),
    )


def _site_moves(
    rotations: IntArray, translations: FloatArray, frac: FloatArray, slots: IntArray, lattice: Lattice
) -> tuple[IntArray, IntArray]:
    """Return where each operation moves each site, and the lattice translation of the move."""
    moved = np.einsum("gab,nb->gna", rotations, frac) + translations[:, None]
    offset = moved[:, :, None] - frac[None, None]
    residual = offset - np.rint(offset)
    distance = np.linalg.norm(residual @ lattice.matrix, axis=-1)
    distance[:, slots[:, None] != slots[None, :]] = np.inf
    permutations = distance.argmin(axis=-1)
    if np.take_along_axis(distance, permutations[..., None], -1).max() > 0.05:
        raise ValueError("A symmetry operation moves a site onto empty space; lower the symmetry tolerance.")
    shifts = np.take_along_axis(np.rint(offset), permutations[:, :, None, None], 2)[:, :, 0]
    return permutations.astype(np.int64), shifts.astype(np.int64)


def _invariant_strains(cartesian: FloatArray) -> FloatArray:
    """Return an orthonormal basis of the symmetric matrices that commute with all rotations, (S, 3, 3)."""
    basis = []
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        matrix = np.zeros((3, 3))
        matrix[a, b] = matrix[b, a] = 1.0 if a == b else np.sqrt(0.5)
        basis.append(matrix)
    symmetric = np.array(basis)
    averaged = np.einsum("gba,kbc,gcd->kad", cartesian, symmetric, cartesian) / len(cartesian)
    projector = np.einsum("kab,lab->kl", averaged, symmetric)
    return np.einsum("sk,kab->sab", _fixed_vectors(projector), symmetric)


def _invariant_displacements(cartesian: FloatArray, permutations: IntArray) -> FloatArray:
    """Return an orthonormal basis of invariant Cartesian displacements without the uniform ones, (D, N, 3)."""
    n_sites = permutations.shape[1]
    projector = np.zeros((n_sites, 3, n_sites, 3))
    sites = np.arange(n_sites)
    for rotation, permutation in zip(cartesian, permutations, strict=True):
        projector[permutation, :, sites, :] += rotation
    projector = projector.reshape(3 * n_sites, 3 * n_sites) / len(cartesian)
    uniform = np.kron(np.full((n_sites, n_sites), 1.0 / n_sites), np.eye(3))
    return _fixed_vectors(projector @ (np.eye(3 * n_sites) - uniform)).reshape(-1, n_sites, 3)


def _fixed_vectors(projector: FloatArray) -> FloatArray:
    """Return the orthonormal vectors that an orthogonal projector leaves alone, signs and order fixed."""
    values, vectors = np.linalg.eigh((projector + projector.T) / 2)
    fixed = vectors[:, values > 0.5].T
    signs = np.sign(fixed[np.arange(len(fixed)), np.abs(fixed).argmax(axis=1)]) if len(fixed) else np.ones(0)
    return fixed * signs[:, None]


@dataclass(frozen=True)
class OrbitTable:
    """Orbits of directed bonds and of angles around the representative sites, all within a reach.

    Vectors are the geometric bonds needed: centre site, neighbour site, lattice image. A directed orbit
    points at its representative vector; two mutually reversed orbits share one undirected bond.

    Attributes
    ----------
    vector_sites, vector_images
        Centre and neighbour site, (V, 2), and lattice image, (V, 3).
    bond_vector
        Representative vector of each undirected bond orbit, (U,).
    edge_center, edge_neighbor, edge_bond, edge_multiplicity
        Of each directed orbit, (O,): site orbits of both ends, undirected bond, equivalent edges per centre.
    angle_center, angle_bond_i, angle_bond_j, angle_vector_i, angle_vector_j, angle_multiplicity
        Of each angle orbit, (T,): site orbit of the vertex, the bond that is updated, the other bond, the two
        vectors, and the number of equivalent angles per bond i.
    reach, angle_reach
        Bond lengths in Angstrom up to which bonds and angles are complete in the reference lattice.
    """

    vector_sites: IntArray
    vector_images: IntArray
    bond_vector: IntArray
    edge_center: IntArray
    edge_neighbor: IntArray
    edge_bond: IntArray
    edge_multiplicity: IntArray
    angle_center: IntArray
    angle_bond_i: IntArray
    angle_bond_j: IntArray
    angle_vector_i: IntArray
    angle_vector_j: IntArray
    angle_multiplicity: IntArray
    reach: float
    angle_reach: float


def orbit_table(cell: SymmetricCell, reach: float, angle_reach: float) -> OrbitTable:
    """Tabulate bonds up to `reach` and angles between bonds up to `angle_reach` Angstrom by orbits."""
    return _OrbitFinder(cell, reach, angle_reach).table()


class _OrbitFinder:
    """Sorts the bonds and angles of a cell into orbits."""

    def __init__(self, cell: SymmetricCell, reach: float, angle_reach: float) -> None:
        self.cell, self.reach, self.angle_reach = cell, reach, angle_reach
        self.stabilisers = {int(i): np.flatnonzero(cell.permutations[:, i] == i) for i in cell.representatives}
        self._collect_vectors()
        self._collect_directed_orbits()
        self._pair_reversed_orbits()

    def _keys(self, sites: IntArray, images: IntArray) -> IntArray:
        """Encode neighbour site and image as one integer."""
        shifted = images + _IMAGE_BASE // 2
        key = sites * _IMAGE_BASE + shifted[..., 0]
        return (key * _IMAGE_BASE + shifted[..., 1]) * _IMAGE_BASE + shifted[..., 2]

    def _moved_keys(self, operations: IntArray, center: int, sites: IntArray, images: IntArray) -> IntArray:
        """Keys of bonds from `center` after each operation, (len(operations), len(sites))."""
        cell = self.cell
        moved_images = np.einsum("gab,eb->gea", cell.rotations[operations], images)
        moved_images = moved_images + cell.shifts[operations][:, sites] - cell.shifts[operations, center][:, None]
        return self._keys(cell.permutations[operations][:, sites], moved_images)

    def _collect_vectors(self) -> None:
        cell = self.cell
        structure = Structure(Lattice(cell.lattice), ["H"] * len(cell.frac_coords), cell.frac_coords)
        centers, sites, images, lengths = structure.get_neighbor_list(r=self.reach, numerical_tol=1e-8)
        kept = np.isin(centers, cell.representatives)
        centers, sites, images, lengths = centers[kept], sites[kept], images[kept], lengths[kept]
        images = np.rint(images).astype(np.int64)
        order = np.lexsort((self._keys(sites, images), centers))
        self.centers, self.sites = centers[order].astype(np.int64), sites[order].astype(np.int64)
        self.images, self.lengths = images[order], lengths[order]
        starts = np.searchsorted(self.centers, cell.representatives, side="left").tolist()
        stops = np.searchsorted(self.centers, cell.representatives, side="right").tolist()
        bounds = zip(cell.representatives.tolist(), starts, stops, strict=True)
        self.spans = {center: slice(start, stop) for center, start, stop in bounds}

    def _collect_directed_orbits(self) -> None:
        """Give every vector its directed orbit; keep representative vector and multiplicity of each orbit."""
        self.lookup: dict[tuple[int, int], int] = {}
        self.orbit_vector: list[int] = []
        self.orbit_multiplicity: list[int] = []
        self.vector_orbit = np.full(len(self.sites), -1, dtype=np.int64)
        self.keys = self._keys(self.sites, self.images)
        for center, span in self.spans.items():
            canonical = self._moved_keys(self.stabilisers[center], center, self.sites[span], self.images[span]).min(0)
            values, inverse, counts = np.unique(canonical, return_inverse=True, return_counts=True)
            local = np.searchsorted(self.keys[span], values)
            first = len(self.orbit_vector)
            self.vector_orbit[span] = first + inverse
            for offset, (value, count) in enumerate(zip(values, counts, strict=True)):
                self.lookup[center, int(value)] = first + offset
                self.orbit_vector.append(span.start + int(local[offset]))
                self.orbit_multiplicity.append(int(count))

    def _reversed_orbit(self, vector: int) -> int:
        """Directed orbit of the reversed bond; its own orbit when the reverse lies just outside the reach."""
        cell = self.cell
        center, site = int(self.centers[vector]), int(self.sites[vector])
        target = int(cell.permutations[:, site].min())
        operation = np.flatnonzero(cell.permutations[:, site] == target)[:1]
        image = -self.images[vector][None]
        image = np.einsum("gab,eb->gea", cell.rotations[operation], image)[0]
        image = image + cell.shifts[operation[0], center] - cell.shifts[operation[0], site]
        moved_site = cell.permutations[operation[0], [center]]
        key = self._moved_keys(self.stabilisers[target], target, moved_site, image).min()
        return self.lookup.get((target, int(key)), int(self.vector_orbit[vector]))

    def _pair_reversed_orbits(self) -> None:
        self.reversed = np.array([self._reversed_orbit(v) for v in self.orbit_vector], dtype=np.int64)
        smaller = np.minimum(self.reversed, np.arange(len(self.reversed)))
        self.bonds, self.orbit_bond = np.unique(smaller, return_inverse=True)

    def _angle_rows(self) -> IntArray:
        """Rows of vertex site, bond i, bond j, vector i, vector j, multiplicity, (T, 6)."""
        rows = []
        for orbit, vector in enumerate(self.orbit_vector):
            if self.lengths[vector] >= self.angle_reach:
                continue
            center = int(self.centers[vector])
            span = self.spans[center]
            others = np.flatnonzero(self.lengths[span] < self.angle_reach) + span.start
            others = others[others != vector]
            for other, count in self._angle_orbits(center, vector, others):
                both_ends = 2 if self.reversed[orbit] == orbit else 1
                bond_j = self.orbit_bond[self.vector_orbit[other]]
                rows.append((center, self.orbit_bond[orbit], bond_j, vector, other, count * both_ends))
        return np.array(rows, dtype=np.int64).reshape(-1, 6)

    def _angle_orbits(self, center: int, vector: int, others: IntArray) -> list[tuple[int, int]]:
        """Representatives and sizes of the orbits of `others` under the operations that keep `vector`."""
        if len(others) == 0:
            return []
        operations = self.stabilisers[center]
        own = self._moved_keys(operations, center, self.sites[[vector]], self.images[[vector]])[:, 0]
        keeping = operations[own == self.keys[vector]]
        canonical = self._moved_keys(keeping, center, self.sites[others], self.images[others]).min(0)
        _, first, counts = np.unique(canonical, return_index=True, return_counts=True)
        return [(int(others[f]), int(c)) for f, c in zip(first, counts, strict=True)]

    def table(self) -> OrbitTable:
        """Assemble the arrays."""
        cell, angles = self.cell, self._angle_rows()
        vectors = np.array(self.orbit_vector, dtype=np.int64)
        used, position = np.unique(np.concatenate([vectors, angles[:, 3], angles[:, 4]]), return_inverse=True)
        n_orbits, n_angles = len(vectors), len(angles)
        orbits = cell.site_orbits
        return OrbitTable(
            vector_sites=np.stack([self.centers[used], self.sites[used]], axis=1),
            vector_images=self.images[used],
            bond_vector=position[:n_orbits][self.bonds],
            edge_center=orbits[self.centers[vectors]],
            edge_neighbor=orbits[self.sites[vectors]],
            edge_bond=self.orbit_bond,
            edge_multiplicity=np.array(self.orbit_multiplicity, dtype=np.int64),
            angle_center=orbits[angles[:, 0]],
            angle_bond_i=angles[:, 1],
            angle_bond_j=angles[:, 2],
            angle_vector_i=position[n_orbits : n_orbits + n_angles],
            angle_vector_j=position[n_orbits + n_angles :],
            angle_multiplicity=angles[:, 5],
            reach=self.reach,
            angle_reach=self.angle_reach,
        )
