"""Spectral elements for the radial Schrodinger equation of an atom."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

SPEED_OF_LIGHT = 137.035999  # Hartree atomic units


class RadialGrid:
    """Gauss-Lobatto-Legendre elements on [0, r_max], each of polynomials of one order, nodes shared between neighbours.

    Parameters
    ----------
    r_first
        End of the first element, in Bohr; the others grow geometrically.
    r_max
        End of the last element, in Bohr, where every function vanishes.
    n_elements
        Number of elements.
    order
        Order of the polynomials.
    """

    def __init__(self, r_first: float, r_max: float, n_elements: int = 24, order: int = 8) -> None:
        nodes, weights, derivative, integral = _reference_element(order)
        edges = np.concatenate([[0.0], np.geomspace(r_first, r_max, n_elements)])
        half = np.diff(edges)[:, None] / 2
        self.reference_nodes = nodes
        self.element_nodes = np.arange(n_elements)[:, None] * order + np.arange(order + 1)
        self.size = n_elements * order + 1
        self.r = np.zeros(self.size)
        self.r[self.element_nodes] = edges[:-1, None] + half * (nodes + 1)
        self.inverse_r = 1 / np.maximum(self.r, 1e-12)
        self.element_weights = half * weights
        self.weights = np.zeros(self.size)
        np.add.at(self.weights, self.element_nodes, self.element_weights)
        self._integral = integral[None] * half[:, :, None]
        # d/dr - 1/r on each element: the kinetic energy of u = r R is the square of it, for l = 0.
        self._kinetic = derivative[None] / half[:, :, None]
        diagonal = np.arange(order + 1)
        self._kinetic[:, diagonal, diagonal] -= self.inverse_r[self.element_nodes]
        self._kinetic[0, 0] = 0.0

    def cumulate(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integral of nodal values from zero to each node."""
        within = np.einsum("eij,ej->ei", self._integral, values[self.element_nodes])
        start = np.concatenate([[0.0], np.cumsum(within[:, -1])[:-1]])
        total = np.zeros(self.size)
        total[self.element_nodes] = within + start[:, None]
        return total

    def interpolate(self, values: NDArray[np.float64], r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Nodal values at other radii, by the polynomial of each element (barycentric form)."""
        element = np.searchsorted(self.r[self.element_nodes[:, 0]], r, side="right") - 1
        element = np.clip(element, 0, len(self.element_nodes) - 1)
        nodes, nodal = self.r[self.element_nodes[element]], values[self.element_nodes[element]]
        t = self.reference_nodes
        barycentric = np.array([1 / np.prod(np.delete(t[i] - t, i)) for i in range(len(t))])
        distance = r[:, None] - nodes
        hit = np.abs(distance) < 1e-13
        factors = barycentric / np.where(hit, 1.0, distance)
        smooth = (factors * nodal).sum(axis=1) / factors.sum(axis=1)
        return np.where(hit.any(axis=1), (nodal * hit).sum(axis=1), smooth)

    def states(
        self,
        potential: NDArray[np.float64],
        l: int,
        number: int,
        confinement: NDArray[np.float64] | None = None,
        relativistic: bool = True,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest eigenvalues (number,) in Hartree and functions u = r R (number, size) of one angular momentum.

        Scalar relativity enters by the zero-order regular approximation: a kinetic factor 1 / (1 - V / 2 c^2).

        Parameters
        ----------
        potential
            Potential at the nodes, Hartree.
        l
            Angular momentum.
        number
            How many states.
        confinement
            Further potential, which leaves the relativistic factor alone.
        relativistic
            Whether to use that factor.
        """
        factor = 1 / (1 - np.minimum(potential, 0) / (2 * SPEED_OF_LIGHT**2)) if relativistic else np.ones(self.size)
        matrix = self._kinetic_matrix(factor)
        whole = potential if confinement is None else potential + confinement
        index = np.arange(self.size)
        matrix[index, index] += self.weights * (whole + factor * l * (l + 1) / 2 * self.inverse_r**2)
        inner = slice(1, self.size - 1)
        scale = 1 / np.sqrt(self.weights[inner])
        energies, vectors = scipy.linalg.eigh(
            matrix[inner, inner] * scale[:, None] * scale, subset_by_index=(0, number - 1), driver="evr"
        )
        functions = np.zeros((number, self.size))
        functions[:, inner] = (vectors * scale[:, None]).T
        return energies, functions

    def _kinetic_matrix(self, factor: NDArray[np.float64]) -> NDArray[np.float64]:
        weight = self.element_weights * factor[self.element_nodes] / 2
        blocks = np.einsum("eq,eqi,eqj->eij", weight, self._kinetic, self._kinetic)
        matrix = np.zeros((self.size, self.size))
        for block, nodes in zip(blocks, self.element_nodes, strict=True):
            matrix[nodes[0] : nodes[-1] + 1, nodes[0] : nodes[-1] + 1] += block
        return matrix


def _reference_element(order: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Nodes, weights, matrix of derivatives and matrix of integrals from -1 to each node."""
    legendre = np.polynomial.legendre.Legendre.basis(order)
    nodes = np.concatenate([[-1.0], np.sort(legendre.deriv().roots().real), [1.0]])
    values = legendre(nodes)
    weights = 2 / (order * (order + 1) * values**2)
    difference = nodes[:, None] - nodes + np.eye(order + 1)
    derivative = values[:, None] / values / difference
    np.fill_diagonal(derivative, 0.0)
    derivative[0, 0], derivative[-1, -1] = -order * (order + 1) / 4, order * (order + 1) / 4
    powers = np.arange(1, order + 2)
    monomials = np.vander(nodes, order + 1, increasing=True)
    integral = ((nodes[:, None] ** powers - (-1.0) ** powers) / powers) @ np.linalg.inv(monomials)
    return nodes, weights, derivative, integral
