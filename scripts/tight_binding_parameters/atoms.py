"""Free and confined atoms in the local density approximation: radial functions, potentials, levels, hardness.

Spherical, spin-unpolarised, scalar-relativistic. Hartree atomic units throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.constants import physical_constants

from scripts.tight_binding_parameters.elements import Occupation, occupation, valence_shells
from scripts.tight_binding_parameters.functional import lda_potential
from scripts.tight_binding_parameters.radial_grid import RadialGrid

BOHR_A = physical_constants["Bohr radius"][0] * 1e10
HARTREE_EV = physical_constants["Hartree energy in eV"][0]
# Radii at which functions are tabulated, in Bohr.
RADII = np.concatenate([[0.0], np.geomspace(1e-4, 24.0, 500)])
_R_MAX = 30.0
_FIRST_ELEMENT = 3e-3  # times 1/Z
_MIXING_HISTORY = 6
_TOLERANCE = 2e-5


@dataclass(frozen=True)
class SelfConsistentAtom:
    """Kohn-Sham ground state of a spherical atom.

    Parameters
    ----------
    grid
        Radial grid.
    potential, density
        At its nodes: Hartree and electrons per cubic Bohr.
    levels
        Eigenvalue of every occupied shell (n, l), Hartree.
    """

    grid: RadialGrid
    potential: NDArray[np.float64]
    density: NDArray[np.float64]
    levels: dict[tuple[int, int], float]


@dataclass(frozen=True)
class Confinement:
    """Confinement of the basis functions: (r / r0)^2 with r0 = factor x covalent radius, at least `floor` Bohr.

    The only fitted numbers of the tables: chosen by the Wasserstein distance of raw spectra on training crystals.
    """

    factors: tuple[float, float, float] = (1.4, 1.6, 2.2)
    floor: float = 3.2

    def radii(self, atomic_number: int) -> NDArray[np.float64]:
        """r0 of s, p and d, in Bohr, shape (3,)."""
        return np.maximum(np.array(self.factors) * covalent_radii[atomic_number] / BOHR_A, self.floor)


@dataclass(frozen=True)
class BasisAtom:
    """What the two-centre integrals need of an element; functions on `RADII`.

    Parameters
    ----------
    atomic_number
        The element.
    free_levels, confined_levels
        Energies of s, p, d in the free and in the confined atom, Hartree, shape (3,); NaN without such a shell.
    functions
        Radial functions R of s, p, d with a positive tail, shape (3, radii).
    potential
        r V(r) of the free neutral atom, shape (radii,).
    density
        Its density, shape (radii,).
    confinement_radii
        r0 of s, p, d, shape (3,).
    """

    atomic_number: int
    free_levels: NDArray[np.float64]
    confined_levels: NDArray[np.float64]
    functions: NDArray[np.float64]
    potential: NDArray[np.float64]
    density: NDArray[np.float64]
    confinement_radii: NDArray[np.float64]


def solve_atom(
    atomic_number: int,
    electrons: Occupation | None = None,
    potential: NDArray[np.float64] | None = None,
    relativistic: bool = True,
    iterations: int = 120,
) -> SelfConsistentAtom:
    """Self-consistent free atom; Anderson mixing of r V.

    Parameters
    ----------
    atomic_number
        The element.
    electrons
        Occupation of the shells; the ground state by default.
    potential
        Where to start; Thomas-Fermi by default.
    relativistic
        Whether the kinetic energy is scalar-relativistic.
    iterations
        At most so many.

    Raises
    ------
    RuntimeError
        If it does not converge.
    """
    electrons = electrons or occupation(atomic_number)
    grid = RadialGrid(_FIRST_ELEMENT / atomic_number, _R_MAX)
    if potential is None:
        x = grid.r * atomic_number ** (1 / 3) / 0.8853
        potential = -(atomic_number / (1 + x * (0.6 + 0.06 * x)) + 0.5) * grid.inverse_r
    mixer = _AndersonMixer(np.sqrt(grid.weights[1:]))
    for _ in range(iterations):
        density, levels = _density(grid, potential, electrons, relativistic)
        new = -atomic_number * grid.inverse_r + _hartree_potential(grid, density) + lda_potential(density)
        current, residual = (grid.r * potential)[1:], (grid.r * (new - potential))[1:]
        if np.sqrt((grid.weights[1:] * residual**2).sum() / _R_MAX) < _TOLERANCE:
            return SelfConsistentAtom(grid, new, density, levels)
        potential = potential.copy()
        potential[1:] = mixer.next(current, residual) / grid.r[1:]
        potential[0] = potential[1]
    raise RuntimeError(f"The atom with atomic number {atomic_number} is not self-consistent after {iterations} steps.")


def basis_atom(atomic_number: int, confinement: Confinement, empty_d: bool = True) -> BasisAtom:
    """Confined valence functions in the potential of the free atom, and the free levels."""
    free = solve_atom(atomic_number)
    grid, r0 = free.grid, confinement.radii(atomic_number)
    free_levels, confined_levels = np.full(3, np.nan), np.full(3, np.nan)
    functions = np.zeros((3, len(RADII)))
    for l, n in valence_shells(atomic_number, empty_d).items():
        index = n - l - 1
        energies, u = grid.states(free.potential, l, n - l, (grid.r / r0[l]) ** 2)
        confined_levels[l] = energies[index]
        free_levels[l] = grid.states(free.potential, l, n - l)[0][index]
        radial = u[index] * grid.inverse_r
        radial[0] = radial[1]
        outermost = np.argmax(np.abs(u[index]))
        functions[l] = grid.interpolate(radial * np.sign(radial[outermost]), RADII)
    return BasisAtom(
        atomic_number,
        free_levels,
        confined_levels,
        functions,
        grid.interpolate(grid.r * free.potential, RADII),
        np.maximum(grid.interpolate(free.density, RADII), 0.0),
        r0,
    )


def hubbard_u(atomic_number: int, step: float = 0.1) -> float:
    """Derivative of the level of the frontier shell by its occupation, in Hartree: the hardness of the atom.

    The shell is p in the p block, else s, d where the s shell is empty.
    """
    electrons, shells = occupation(atomic_number), valence_shells(atomic_number)
    l = 1 if electrons.get((shells.get(1, 0), 1), 0.0) > 0 else 0
    shell = (shells[l], l) if electrons.get((shells[l], l), 0.0) > 0 else (shells[2], 2)
    neutral = solve_atom(atomic_number)
    charged = solve_atom(atomic_number, {**electrons, shell: electrons[shell] - step}, neutral.potential)
    return (neutral.levels[shell] - charged.levels[shell]) / step


def _density(
    grid: RadialGrid, potential: NDArray[np.float64], electrons: Occupation, relativistic: bool
) -> tuple[NDArray[np.float64], dict[tuple[int, int], float]]:
    density = np.zeros(grid.size)
    levels = {}
    for l in sorted({l for _, l in electrons}):
        shells = {n: occupied for (n, shell_l), occupied in electrons.items() if shell_l == l}
        energies, u = grid.states(potential, l, max(shells) - l, relativistic=relativistic)
        for n, occupied in shells.items():
            density += occupied * u[n - l - 1] ** 2
            levels[n, l] = float(energies[n - l - 1])
    density *= grid.inverse_r**2 / (4 * np.pi)
    density[0] = density[1]
    return density, levels


def _hartree_potential(grid: RadialGrid, density: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = grid.cumulate(4 * np.pi * grid.r**2 * density)
    shells = grid.cumulate(4 * np.pi * grid.r * density)
    potential = inside * grid.inverse_r + shells[-1] - shells
    potential[0] = shells[-1]
    return potential


class _AndersonMixer:
    """Anderson mixing (J. ACM 12, 547 (1965)) of vectors whose residuals are weighted."""

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self.weights = weights
        self.residuals: list[NDArray[np.float64]] = []
        self.inputs: list[NDArray[np.float64]] = []
        self.step = 0

    def next(self, current: NDArray[np.float64], residual: NDArray[np.float64]) -> NDArray[np.float64]:
        self.residuals = [*self.residuals, residual][-_MIXING_HISTORY:]
        self.inputs = [*self.inputs, current][-_MIXING_HISTORY:]
        self.step += 1
        if self.step <= 4:
            return current + 0.25 * residual
        differences = np.array([residual - old for old in self.residuals[:-1]])
        factors = np.linalg.lstsq((differences * self.weights).T, self.weights * residual, rcond=1e-6)[0]
        inputs = np.array([current - old for old in self.inputs[:-1]])
        return current - factors @ inputs + 0.4 * (residual - factors @ differences)
