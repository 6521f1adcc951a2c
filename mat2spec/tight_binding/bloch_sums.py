"""Bloch sums of the blocks between pairs of atoms, laid out as matrices: complex ones, or real ones where they are real."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mat2spec.tight_binding.channels import N_ORBITALS

# Elements of a block, and of the two blocks (overlap, Hamiltonian) of a pair.
_BLOCK = N_ORBITALS**2
_BOTH = 2 * _BLOCK
# Numbers that the sums of some k-points may have at once: 128 MB in double precision.
_MOST_NUMBERS = 2**24


class Term(NamedTuple):
    """A part of the elements of real matrices: each an element of the complex matrices times a factor, and of it the real part.

    Parameters
    ----------
    rows, columns
        Which element of the complex matrices, shape (n,) each.
    of_rows, of_columns
        Factors, real or imaginary, shape (n,) each; that of the rows is conjugated.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    of_rows: NDArray[np.complex128]
    of_columns: NDArray[np.complex128]


class TermPlace(NamedTuple):
    """Where a term stands among the sums.

    Parameters
    ----------
    element
        Of each element of the matrix, shape (n x n,).
    factor
        By which it is multiplied, shape (n x n,).
    """

    element: Tensor
    factor: Tensor


class BlochSums:
    """Sums over the cells of a crystal, for any phases.

    Parameters
    ----------
    first_orbital
        First orbital of each atom and one past the last, shape (n_atoms + 1,).
    first, second
        Atoms of each pair, first <= second, shape (n_pairs,); of a pair of images of one atom without its opposite.
    blocks
        Overlap and Hamiltonian of each pair, shape (n_pairs, 2, 9, 9).
    dtype
        Real precision of the sums.
    """

    def __init__(
        self,
        first_orbital: NDArray[np.int64],
        first: NDArray[np.int64],
        second: NDArray[np.int64],
        blocks: NDArray[np.float64],
        dtype: torch.dtype,
    ) -> None:
        self.dtype, self.n_orbitals, n_atoms = dtype, int(first_orbital[-1]), len(first_orbital) - 1
        own = np.flatnonzero(first == second)
        self._pair = torch.from_numpy(np.concatenate([np.arange(len(first)), own]))
        self._n_pairs = len(first)
        of_all = np.concatenate([blocks, blocks[own].swapaxes(-1, -2)]).reshape(-1, _BOTH)
        atoms, row, counts = np.unique(
            np.concatenate([first * n_atoms + second, first[own] * n_atoms + second[own]]),
            return_inverse=True,
            return_counts=True,
        )
        # Pairs of the same atoms are the terms of one sum; sums of fewer terms are filled up with zeros, and the last is
        # that of atoms out of reach.
        order = np.argsort(row, kind="stable")
        place = np.empty(len(row), dtype=np.int64)
        place[order] = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._slot = torch.from_numpy(row), torch.from_numpy(place)
        self._padded = torch.zeros(len(atoms) + 1, max(1, counts.max(initial=1)), _BOTH, dtype=dtype)
        self._padded[self._slot] = torch.from_numpy(of_all).to(dtype)
        row_of_atoms = np.full((n_atoms, n_atoms), len(atoms))
        row_of_atoms.ravel()[atoms] = np.arange(len(atoms))
        row_of_atoms = np.minimum(row_of_atoms, row_of_atoms.T)
        atom = np.repeat(np.arange(n_atoms), np.diff(first_orbital))
        within = np.arange(self.n_orbitals) - first_orbital[atom]
        upper = atom[:, None] <= atom
        of_block = np.where(upper, N_ORBITALS * within[:, None] + within, N_ORBITALS * within + within[:, None])
        self._element = _BOTH * row_of_atoms[atom[:, None], atom] + of_block
        self._is_lower = ~upper

    def complex_matrices(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Hermitian sums, shape (2, n_kpoints, n, n).

        Parameters
        ----------
        real, imaginary
            Parts of the factor of each pair at each k-point, shape (n_kpoints, n_pairs).
        """
        n, n_kpoints = self.n_orbitals, len(real)
        matrices = torch.empty(2, n_kpoints, n * n, 2, dtype=self.dtype)
        sign = torch.from_numpy(np.where(self._is_lower, -1.0, 1.0).ravel()).to(self.dtype)
        for some in self._pieces(n_kpoints):
            sums = self._sums(real[some], imaginary[some]).flatten(1)
            for block, elements in enumerate(self._elements):
                matrices[block, some, :, 0] = sums.index_select(1, elements)
                imaginary_parts = sums.index_select(1, elements + self._n_elements)
                torch.mul(imaginary_parts, sign, out=matrices[block, some, :, 1])
        return torch.view_as_complex(matrices).unflatten(2, (n, n))

    def real_matrices(self, real: Tensor) -> Tensor:
        """Symmetric sums for real factors as in `complex_matrices`, shape (2, n_kpoints, n, n)."""
        n, n_kpoints = self.n_orbitals, len(real)
        matrices = torch.empty(2, n_kpoints, n * n, dtype=self.dtype)
        for some in self._pieces(n_kpoints):
            sums = self._sums(real[some]).flatten(1)
            for block, elements in enumerate(self._elements):
                torch.index_select(sums, 1, elements, out=matrices[block, some])
        return matrices.unflatten(2, (n, n))

    def combined(self, real: Tensor, imaginary: Tensor, places: Sequence[TermPlace]) -> Tensor:
        """Real matrices whose elements are sums of terms, shape (2, n_kpoints, n, n).

        Parameters
        ----------
        real, imaginary
            As in `complex_matrices`.
        places
            Of the terms, from `place`.
        """
        n, n_kpoints = self.n_orbitals, len(real)
        matrices = torch.empty(2, n_kpoints, n * n, dtype=self.dtype)
        first, *others = places
        for some in self._pieces(n_kpoints):
            sums = self._sums(real[some], imaginary[some]).flatten(1)
            for block, of_block in enumerate(matrices[:, some]):
                torch.mul(sums.index_select(1, first.element + _BLOCK * block), first.factor, out=of_block)
                for term in others:
                    of_block.addcmul_(sums.index_select(1, term.element + _BLOCK * block), term.factor)
        return matrices.unflatten(2, (n, n))

    def place(self, term: Term) -> TermPlace:
        """Where the real or imaginary parts of the elements of a term stand."""
        chosen = term.rows[:, None], term.columns
        factor = term.of_rows.conj()[:, None] * term.of_columns
        is_imaginary = factor.imag != 0
        of_part = np.where(is_imaginary, np.where(self._is_lower[chosen], 1, -1) * factor.imag, factor.real)
        element = self._element[chosen] + self._n_elements * is_imaginary
        return TermPlace(torch.from_numpy(element.ravel()), torch.from_numpy(of_part.ravel()).to(self.dtype))

    @property
    def _n_elements(self) -> int:
        return _BOTH * len(self._padded)

    @cached_property
    def _elements(self) -> list[Tensor]:
        """Where the elements of the matrices of each block stand among the sums."""
        element = torch.from_numpy(self._element.ravel())
        return [element, element + _BLOCK]

    def _sums(self, *parts: Tensor) -> Tensor:
        """Sums over the pairs of the same atoms with the real and imaginary parts of factors.

        Of each element of each block, shape (n_kpoints, n_parts, n_elements).
        """
        factors = torch.stack([part.to(self.dtype) for part in parts], dim=1).movedim(2, 0)[self._pair]
        factors[self._n_pairs :, :, 1:] *= -1
        padded = self._padded.new_zeros(*self._padded.shape[:2], factors.shape[1] * factors.shape[2])
        padded[self._slot] = factors.flatten(1)
        sums = torch.bmm(padded.mT, self._padded).transpose(0, 1)
        return sums.reshape(-1, len(parts), self._n_elements)

    def _pieces(self, n_kpoints: int) -> list[slice]:
        """K-points whose sums fit into memory together."""
        at_once = max(1, _MOST_NUMBERS // (2 * _BOTH * len(self._padded)))
        return [slice(start, start + at_once) for start in range(0, n_kpoints, at_once)]
