"""Overlap and Hamiltonian matrices of a crystal at k-points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.tight_binding.bloch_sums import BlochSums
from mat2spec.tight_binding.channels import N_SHELLS, SHELL_OF_ORBITAL
from mat2spec.tight_binding.pairs import find_pairs
from mat2spec.tight_binding.parameters import SlaterKosterTables, load_tables
from mat2spec.tight_binding.slater_koster import slater_koster_blocks


@dataclass(frozen=True)
class Basis:
    """Orbitals of a crystal, atom by atom.

    Parameters
    ----------
    first_orbital
        First orbital of each atom and one past the last, shape (n_atoms + 1,).
    atom, shell
        Atom and angular momentum of each orbital, shape (n_orbitals,).
    on_site_ev
        Energy of each orbital in the free atom, shape (n_orbitals,).
    valence_electrons
        Of each neutral atom, shape (n_atoms,).
    """

    first_orbital: NDArray[np.int64]
    atom: NDArray[np.int64]
    shell: NDArray[np.int64]
    on_site_ev: NDArray[np.float64]
    valence_electrons: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Orbitals in the cell."""
        return len(self.atom)

    @property
    def n_atoms(self) -> int:
        """Atoms in the cell."""
        return len(self.valence_electrons)

    @property
    def n_electrons(self) -> int:
        """Valence electrons in the cell."""
        return int(self.valence_electrons.sum())

    @property
    def site_shell(self) -> NDArray[np.int64]:
        """3 x atom + shell of each orbital, shape (n_orbitals,)."""
        return N_SHELLS * self.atom + self.shell

    @classmethod
    def of(cls, tables: SlaterKosterTables, rows: NDArray[np.int64]) -> Basis:
        """Orbitals of atoms that are rows of the tables; every element has s, s and p, or s, p and d."""
        n_shells = tables.has_shell[rows].sum(axis=1)
        counts = n_shells**2
        atom = np.repeat(np.arange(len(rows)), counts)
        first = np.concatenate([[0], np.cumsum(counts)])
        shell = SHELL_OF_ORBITAL[np.arange(first[-1]) - first[atom]]
        return cls(first, atom, shell, tables.on_site_ev[rows[atom], shell], tables.valence_electrons[rows])


@dataclass(frozen=True)
class TightBindingCrystal:
    """Real-space blocks of a crystal, from which matrices at any k-point follow.

    Parameters
    ----------
    cell
        The primitive cell.
    basis
        Its orbitals.
    first, second, offsets
        Pairs of atoms as in `mat2spec.tight_binding.pairs.Pairs`.
    blocks
        Overlap and Hamiltonian of each pair, shape (n_pairs, 2, 9, 9), dimensionless and eV.
    hubbard_u_ev
        Hardness of each atom, shape (n_atoms,).
    """

    cell: PrimitiveCell
    basis: Basis
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    offsets: NDArray[np.int64]
    blocks: NDArray[np.float64]
    hubbard_u_ev: NDArray[np.float64]

    @classmethod
    def of(cls, cell: PrimitiveCell, tables: SlaterKosterTables | None = None) -> TightBindingCrystal:
        """Evaluate the integrals of all pairs.

        Raises
        ------
        mat2spec.tight_binding.parameters.ParametersError
            If an element is not tabulated.
        """
        tables = tables or load_tables()
        rows = tables.element_indices(cell.atomic_numbers)
        pairs = find_pairs(cell, tables, rows)
        if len(pairs.first):
            first, second = rows[pairs.first], rows[pairs.second]
            ends = np.concatenate([first, second]), np.concatenate([second, first])
            integrals = np.stack(tables.integrals(*ends, np.tile(pairs.distances_a, 2)))
            forward, backward = np.split(integrals, 2, axis=1)
            blocks = slater_koster_blocks(forward, backward, pairs.directions).swapaxes(0, 1)
        else:
            blocks = np.empty((0, 2, 9, 9))
        return cls(
            cell,
            Basis.of(tables, rows),
            pairs.first,
            pairs.second,
            pairs.offsets,
            blocks,
            tables.hubbard_u_ev[rows],
        )

    def bloch_sums(self, dtype: torch.dtype = torch.float64) -> BlochSums:
        """Sums of the blocks in a real precision."""
        return BlochSums(self.basis.first_orbital, self.first, self.second, self.blocks, dtype)

    def matrices(self, kpoints: NDArray[np.float64]) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Overlap and Hamiltonian without on-site energies at k-points, each (n_kpoints, n_orbitals, n_orbitals).

        Parameters
        ----------
        kpoints
            Fractional coordinates, shape (n_kpoints, 3).
        """
        phases = torch.from_numpy(np.exp(2j * np.pi * (kpoints @ self.offsets.T)))
        overlap, hopping = self.bloch_sums().complex_matrices(phases.real, phases.imag).numpy()
        diagonal = np.arange(self.basis.size)
        overlap[:, diagonal, diagonal] += 1
        return overlap, hopping

    def gradients(self, kpoints: NDArray[np.float64]) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Derivatives of `matrices` by the Cartesian wave vector, each (3, n_kpoints, n_orbitals, n_orbitals).

        In Angstrom and eV Angstrom: wave vectors are in radian per Angstrom.
        """
        phases = np.exp(2j * np.pi * (kpoints @ self.offsets.T))
        sums, factors = self.bloch_sums(), torch.from_numpy(1j * phases)
        overlap, hopping = zip(
            *(
                sums.complex_matrices(along * factors.real, along * factors.imag).numpy()
                for along in torch.from_numpy(self.offsets @ self.cell.lattice).T
            ),
            strict=True,
        )
        return np.stack(overlap), np.stack(hopping)
