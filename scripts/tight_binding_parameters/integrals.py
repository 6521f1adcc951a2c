"""Two-centre integrals of all pairs of elements, by quadrature in prolate-spheroidal coordinates.

The grid depends on the distance alone and the functions of the second atom are those of the first read backwards, so
that a channel at one distance is one matrix product over all pairs. Only the exchange-correlation potential of two
superposed densities needs a loop over pairs. Hartree atomic units.

Frame: z from a to b, real spherical harmonics in the same frame on both atoms, radial functions with positive tails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from mat2spec.tight_binding.channels import CHANNELS
from scripts.tight_binding_parameters.atoms import RADII, BasisAtom
from scripts.tight_binding_parameters.functional import lda_potential

_REACH = 30.0  # Bohr, sum of the distances to both atoms
_CONFINEMENT_POWER = 2


@dataclass(frozen=True)
class Quadrature:
    """Points around two atoms; reversing the last axis of an unravelled function swaps the atoms.

    Parameters
    ----------
    shape
        Points along the two spheroidal coordinates.
    r
        Distance to the first atom, in Bohr, shape (n_points,).
    cosine_a, cosine_b
        Cosine of the polar angle at either atom, shape (n_points,).
    weights
        Volume of each point; the azimuth is integrated by the caller.
    """

    shape: tuple[int, int]
    r: NDArray[np.float64]
    cosine_a: NDArray[np.float64]
    cosine_b: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def at_distance(cls, distance: float, n: int) -> Quadrature:
        """Gauss-Legendre quadrature of n x n points for two atoms `distance` Bohr apart."""
        x, w = np.polynomial.legendre.leggauss(n)
        mu_max = np.arccosh(max(_REACH / distance, 1.5))
        mu, nu = ((x + 1) * mu_max / 2)[:, None], ((x + 1) * np.pi / 2)[None]
        weights = (w * mu_max / 2)[:, None] * (w * np.pi / 2)[None]
        xi, eta = np.cosh(mu), np.cos(nu)
        volume = (distance / 2) ** 3 * (xi**2 - eta**2) * np.sinh(mu) * np.sin(nu) * weights
        cosine_a = np.clip((1 + xi * eta) / (xi + eta), -1, 1)
        cosine_b = np.clip((xi * eta - 1) / (xi - eta), -1, 1)
        r = distance / 2 * (xi + eta)
        return cls((n, n), r.ravel(), cosine_a.ravel(), cosine_b.ravel(), volume.ravel())

    def swap(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Functions of the distance to the first atom as functions of the distance to the second."""
        return values.reshape(*values.shape[:-1], *self.shape)[..., ::-1].reshape(values.shape)

    def channel_weights(self, la: int, lb: int, m: int) -> NDArray[np.float64]:
        """Weights with the product of two spherical harmonics, integrated over the azimuth."""
        azimuth = 2 * np.pi if m == 0 else np.pi
        return self.weights * _harmonic(la, m, self.cosine_a) * _harmonic(lb, m, self.cosine_b) * azimuth


def two_centre_integrals(
    atoms: Sequence[BasisAtom], distances: Sequence[float], n_points: int = 40, superpose_densities: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Overlap and Hamiltonian <a| T + V_a + V_b |b> of all ordered pairs, each (n_distances, n_atoms, n_atoms, channels).

    Parameters
    ----------
    atoms
        The elements.
    distances
        In Bohr.
    n_points
        Quadrature points along each coordinate.
    superpose_densities
        Whether the exchange-correlation potential is that of the superposed densities, not the sum of those of the atoms.
    """
    functions = _PairFunctions(atoms)
    shape = (len(distances), len(atoms), len(atoms), len(CHANNELS))
    overlap, hamiltonian = np.zeros(shape), np.zeros(shape)
    for index, distance in enumerate(distances):
        quadrature = Quadrature.at_distance(distance, n_points)
        functions.at(quadrature)
        for channel in range(len(CHANNELS)):
            functions.fill(channel, overlap[index], hamiltonian[index])
        if superpose_densities:
            functions.add_superposition(hamiltonian[index])
    return overlap, hamiltonian


class _PairFunctions:
    """Functions of all elements on the points of one distance."""

    def __init__(self, atoms: Sequence[BasisAtom]) -> None:
        log_r = np.log(RADII[1:])
        stacked = {name: np.array([getattr(atom, name) for atom in atoms]) for name in ("functions", "potential")}
        self._splines = {
            name: make_interp_spline(log_r, np.moveaxis(values, -1, 0)[1:], k=3) for name, values in stacked.items()
        }
        density = np.log(np.maximum([atom.density for atom in atoms], 1e-16))
        self._splines["log_density"] = make_interp_spline(log_r, density.T[1:], k=3)
        self.levels = np.array([atom.confined_levels for atom in atoms])
        self.confinement_radii = np.array([atom.confinement_radii for atom in atoms])
        self.has_shell = ~np.isnan(self.levels)

    def at(self, quadrature: Quadrature) -> None:
        self.quadrature = quadrature
        inside = quadrature.r < RADII[-1]
        x = np.log(np.clip(quadrature.r, RADII[1], RADII[-1]))
        self.functions = np.moveaxis(self._splines["functions"](x) * inside[:, None, None], 0, -1)
        self.potential = (self._splines["potential"](x) * inside[:, None] / quadrature.r[:, None]).T
        self.density = np.exp(self._splines["log_density"](x)).T * inside
        self.confinement = (quadrature.r / self.confinement_radii[:, :, None]) ** _CONFINEMENT_POWER

    def fill(self, channel: int, overlap: NDArray[np.float64], hamiltonian: NDArray[np.float64]) -> None:
        """(T + V_b + confinement) phi_b = e_b phi_b, and the same read from a; the mean of both is used."""
        la, lb, m = CHANNELS[channel]
        a, b = np.flatnonzero(self.has_shell[:, la]), np.flatnonzero(self.has_shell[:, lb])
        swap = self.quadrature.swap
        bra = self.functions[a, la] * self.quadrature.channel_weights(la, lb, m)
        ket = swap(self.functions[b, lb])
        product = bra @ ket.T
        from_b = product * self.levels[b, lb] - bra @ (ket * swap(self.confinement[b, lb])).T
        from_b += (bra * self.potential[a]) @ ket.T
        from_a = self.levels[a, la][:, None] * product - (bra * self.confinement[a, la]) @ ket.T
        from_a += bra @ (ket * swap(self.potential[b])).T
        overlap[a[:, None], b, channel] = product
        hamiltonian[a[:, None], b, channel] = (from_a + from_b) / 2

    def add_superposition(self, hamiltonian: NDArray[np.float64]) -> None:
        """Add v_xc(n_a + n_b) - v_xc(n_a) - v_xc(n_b) between all pairs; b >= a is computed, the rest mirrored."""
        swap = self.quadrature.swap
        own = lda_potential(self.density)
        other_density, other, kets = swap(self.density), swap(own), swap(self.functions)
        weights = [self.quadrature.channel_weights(*channel) for channel in CHANNELS]
        mirrored = [swap(weight) for weight in weights]
        for a in range(len(self.density)):
            change = lda_potential(self.density[a] + other_density[a:]) - own[a] - other[a:]
            for channel, (la, lb, _) in enumerate(CHANNELS):
                if self.has_shell[a, la]:
                    b = np.flatnonzero(self.has_shell[a:, lb])
                    bra = self.functions[a, la] * weights[channel]
                    hamiltonian[a, a + b, channel] += np.einsum("bp,bp,p->b", change[b], kets[a + b, lb], bra)
                if self.has_shell[a, lb]:
                    b = np.flatnonzero(self.has_shell[a + 1 :, la]) + 1
                    bra = self.functions[a, lb] * mirrored[channel]
                    hamiltonian[a + b, a, channel] += np.einsum("bp,bp,p->b", change[b], kets[a + b, la], bra)


def _harmonic(l: int, m: int, cosine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Polar part of the real spherical harmonic."""
    sine2 = 1 - cosine**2
    match l, m:
        case 0, 0:
            return np.full_like(cosine, np.sqrt(1 / (4 * np.pi)))
        case 1, 0:
            return np.sqrt(3 / (4 * np.pi)) * cosine
        case 2, 0:
            return np.sqrt(5 / (16 * np.pi)) * (3 * cosine**2 - 1)
        case 1, 1:
            return np.sqrt(3 / (4 * np.pi) * sine2)
        case 2, 1:
            return np.sqrt(15 / (4 * np.pi) * sine2) * cosine
        case 2, 2:
            return np.sqrt(15 / (16 * np.pi)) * sine2
        case _:
            raise ValueError(f"There is no harmonic of l = {l}, m = {m} among s, p and d.")
