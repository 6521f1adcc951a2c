"""The generalised eigenproblem H c = E S c at many k-points, batched and on any device.

If the smallest eigenvalue of S is certainly large enough, the basis is orthogonalised by Cholesky factors, otherwise by
the eigenvectors of S; directions in which S is nearly singular, or negative (as integrals cut off at a finite distance
can make it), are removed from the basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

SMALLEST_OVERLAP = 1e-2
# Energy of directions removed from the basis: far above every window.
REMOVED_EV = 60.0


@dataclass(frozen=True)
class Orthogonaliser:
    """X with X* S X = 1 at each k-point.

    Parameters
    ----------
    transform
        X, shape (n_kpoints, n, n).
    dual
        S X, shape (n_kpoints, n, n).
    removed
        Columns of X that are removed from the basis, shape (n_kpoints, n); None if there are none.
    """

    transform: Tensor
    dual: Tensor
    removed: Tensor | None

    @property
    def n_removed(self) -> int:
        """Number of directions removed, summed over the k-points."""
        return 0 if self.removed is None else int(self.removed.sum())

    @cached_property
    def adjoint(self) -> Tensor:
        """X*, as numbers: products with a conjugated view of X would copy it each time."""
        return self.transform.mH.resolve_conj()

    def reduced(self, operator: Tensor) -> Tensor:
        """X* A X of operators A, shape (n_kpoints, n, n)."""
        return self.adjoint @ operator @ self.transform

    def reduced_potential(self, potential: Tensor) -> Tensor:
        """The same of A = (S V + V S) / 2 with a potential of each orbital, shape (n,)."""
        half = self.adjoint @ (self.dual * (potential[:, None] / 2))
        return half + half.mH

    def eigh(self, reduced: Tensor) -> tuple[Tensor, Tensor]:
        """Eigenvalues and eigenvectors of `reduced` without the directions that are removed."""
        if self.removed is not None:
            outside = self.removed[:, :, None] | self.removed[:, None, :]
            reduced = reduced.masked_fill(outside, 0)
            reduced = reduced + torch.diag_embed(self.removed * REMOVED_EV).to(reduced.dtype)
        energies, vectors = torch.linalg.eigh(reduced)
        return energies, vectors


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
        inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
        transform = inverse.mH.resolve_conj().contiguous()
        # The largest eigenvalue of the inverse of S is at most the product of these norms of the inverse factor.
        sizes = inverse.abs()
        if float((sizes.sum(dim=1).amax(dim=1) * sizes.sum(dim=2).amax(dim=1)).max()) < 1 / smallest:
            return Orthogonaliser(transform, factor, None)
    eigenvalues, vectors = torch.linalg.eigh(overlap)
    scale = eigenvalues.clamp_min(smallest).sqrt()[..., None, :]
    removed = eigenvalues < smallest
    dual = vectors * (eigenvalues[..., None, :] / scale)
    return Orthogonaliser(vectors / scale, dual, removed if bool(removed.any()) else None)


def solve(hamiltonian: Tensor, basis: Orthogonaliser) -> Bands:
    """Energies and coefficients of Hermitian matrices in eV, shape (n_kpoints, n, n)."""
    energies, vectors = basis.eigh(basis.reduced(hamiltonian))
    return Bands(energies, basis.transform @ vectors)


def real_product(first: Tensor, second: Tensor) -> Tensor:
    """Re(a* b) element by element, without complex products, which are slow."""
    if not first.is_complex():
        return first * second
    (real, imaginary), (other_real, other_imaginary) = (torch.view_as_real(each).unbind(-1) for each in (first, second))
    return (real * other_real).addcmul_(imaginary, other_imaginary)


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
    return real_product(coefficients, operator @ coefficients).mT @ groups
