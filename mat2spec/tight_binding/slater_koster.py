"""Two-centre integrals turned into blocks between the orbitals of two atoms (Slater and Koster, Phys. Rev. 94, 1498)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mat2spec.tight_binding.channels import N_ORBITALS


def _quadratic_forms() -> NDArray[np.float64]:
    """Traceless symmetric matrices D with d_m(u) = sqrt(3/2) u D_m u: xy, yz, 3z2-r2, xz, x2-y2; shape (5, 3, 3)."""
    forms = np.zeros((5, 3, 3))
    half = np.sqrt(0.5)
    for index, (i, j) in {0: (0, 1), 1: (1, 2), 3: (0, 2)}.items():
        forms[index, i, j] = forms[index, j, i] = half
    forms[2] = np.diag([-1, -1, 2]) / np.sqrt(6)
    forms[4] = np.diag([1, -1, 0]) * half
    return forms


_FORMS = _quadratic_forms()


def slater_koster_blocks(
    forward: NDArray[np.float64], backward: NDArray[np.float64], directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Blocks between all nine orbitals of the first and of the second atom, shape (..., n_pairs, 9, 9).

    Parameters
    ----------
    forward, backward
        Integrals of the pair read from the first and from the second atom, shape (..., n_pairs, channels); of several
        operators along a first axis.
    directions
        Unit vectors from the first to the second atom, shape (n_pairs, 3).
    """
    ss, sp, sd, pp_sigma, pp_pi, pd_sigma, pd_pi, dd_sigma, dd_pi, dd_delta = np.moveaxis(forward, -1, 0)[
        ..., None, None
    ]
    _, ps, ds, _, _, dp_sigma, dp_pi, _, _, _ = np.moveaxis(backward, -1, 0)[..., None, None]
    p_sigma = directions[:, None, :]
    image = np.einsum("mij,ej->emi", _FORMS, directions)
    along = np.einsum("emi,ei->em", image, directions)
    d_sigma = np.sqrt(1.5) * along[:, None, :]
    # Part of each d function with pi symmetry about the pair, as a vector in the plane across it, shape (e, m, 3).
    d_pi = np.sqrt(2.0) * (image - along[..., None] * p_sigma)
    p_p = p_sigma.transpose(0, 2, 1) * p_sigma
    p_d, p_d_pi = p_sigma.transpose(0, 2, 1) * d_sigma, d_pi.transpose(0, 2, 1)
    d_d, d_d_pi = d_sigma.transpose(0, 2, 1) * d_sigma, d_pi @ d_pi.transpose(0, 2, 1)
    blocks = np.empty((*forward.shape[:-1], N_ORBITALS, N_ORBITALS))
    s, p, d = slice(0, 1), slice(1, 4), slice(4, 9)
    blocks[..., s, s] = ss
    blocks[..., s, p] = p_sigma * sp
    blocks[..., p, s] = -(p_sigma * ps).swapaxes(-1, -2)
    blocks[..., s, d] = d_sigma * sd
    blocks[..., d, s] = (d_sigma * ds).swapaxes(-1, -2)
    blocks[..., p, p] = p_p * pp_sigma + (np.eye(3) - p_p) * pp_pi
    blocks[..., p, d] = p_d * pd_sigma + p_d_pi * pd_pi
    blocks[..., d, p] = -(p_d * dp_sigma + p_d_pi * dp_pi).swapaxes(-1, -2)
    blocks[..., d, d] = d_d * dd_sigma + d_d_pi * dd_pi + (np.eye(5) - d_d - d_d_pi) * dd_delta
    return blocks
