"""The generalised eigenproblem H c = E S c at many k-points, batched and on any device.

If the smallest eigenvalue of S is certainly large enough, the basis is orthogonalised by Cholesky factors, otherwise by
the eigenvectors of S; directions in which S is nearly singular, or negative (as integrals cut off at a finite distance
can make it), are removed from the basis.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_OVERLAP = 1e-2
# Energy of directions removed from the basis: far above every window.
_REMOVED_EV = 60.0


@dataclass(frozen=True)
class Orthogonaliser:
    """X with X* S X = 1 at each k-point.

    Parameters
    ----------
    transform
        X, shape (n_kpoints, n, n).
    removed
        Columns of X that are removed from the basis, shape (n_kpoints, n); None if there are none.
    """

    transform: Tensor
    removed: Tensor | None

    @property
    def n_removed(self) -> int:
        """Number of directions removed, summed over the k-points."""
        return 0 if self.removed is None else int(self.removed.sum())


@dataclass(frozen=True)
class Bands:
    """Solutions at each k-point.

    Parameters
    ----------
    energies
        In eV, ascending, shape (n_kpoints, n).
    coefficients
        Columns of orbital coefficients with c* S c = 1, shape (n_kpoints, n, n).
    """

    energies: Tensor
    coefficients: Tensor


def orthogonalise(overlap: Tensor, smallest: float = SMALLEST_OVERLAP) -> Orthogonaliser:
    """Orthogonalise overlap matrices.

    Parameters
    ----------
    overlap
        Hermitian, shape (n_kpoints, n, n).
    smallest
        Directions in which S is below this are removed.
    """
    factor, failed = torch.linalg.cholesky_ex(overlap)
    if not failed.any():
        identity = torch.eye(overlap.shape[-1], dtype=overlap.dtype, device=overlap.device).expand_as(overlap)
        inverse = torch.linalg.solve_triangular(factor, identity, upper=False).mH.contiguous()
        # The largest eigenvalue of the inverse is at most its Frobenius norm.
        if float(torch.linalg.matrix_norm(inverse @ inverse.mH).max()) < 1 / smallest:
            return Orthogonaliser(inverse, None)
    eigenvalues, vectors = torch.linalg.eigh(overlap)
    transform = vectors / eigenvalues.clamp_min(smallest).sqrt()[..., None, :]
    removed = eigenvalues < smallest
    return Orthogonaliser(transform, removed if bool(removed.any()) else None)


def solve(hamiltonian: Tensor, basis: Orthogonaliser) -> Bands:
    """Energies and coefficients of Hermitian matrices in eV, shape (n_kpoints, n, n)."""
    matrix = basis.transform.mH @ hamiltonian @ basis.transform
    if basis.removed is not None:
        outside = basis.removed[:, :, None] | basis.removed[:, None, :]
        matrix = matrix.masked_fill(outside, 0)
        matrix = matrix + torch.diag_embed(basis.removed * _REMOVED_EV).to(matrix.dtype)
    energies, vectors = torch.linalg.eigh(matrix)
    return Bands(energies, basis.transform @ vectors)


def populations(operator: Tensor, coefficients: Tensor, groups: Tensor) -> Tensor:
    """Mulliken-like shares Re(c_o* (A c)_o) summed over groups of orbitals, shape (n_kpoints, n_bands, n_groups).

    With A = S they are Mulliken populations and sum to one in each band.

    Parameters
    ----------
    operator
        A, shape (n_kpoints, n, n).
    coefficients
        Shape (n_kpoints, n, n_bands).
    groups
        One row per orbital with a one in the column of its group, shape (n, n_groups).
    """
    return (coefficients.conj() * (operator @ coefficients)).real.mT @ groups
