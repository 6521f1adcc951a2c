"""Transport coefficients of tight-binding bands for a constant relaxation time, and effective masses.

The linearised Boltzmann equation as in G. K. H. Madsen and D. J. Singh, Comput. Phys. Commun. 175, 67 (2006): the relaxation
time cancels from the Seebeck coefficient. The conductivity effective mass is n e² tau / sigma (Z. M. Gibbs et al., npj Comput.
Mater. 3, 8 (2017)), the mass of the carriers of a parabolic band.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import brentq
from scipy.special import expit
from torch import Tensor

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.spectra.constants import ANGSTROM3_PER_CM3, BOLTZMANN_EV_PER_K, HBAR2_OVER_MASS_EV_A2
from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.charges import COULOMB_EV_A
from mat2spec.tight_binding.filling import Filling, fermi_level, fill
from mat2spec.tight_binding.fine_mesh import FINE_SPACING_PER_A, FinePoints, coarse_mesh, fine_points
from mat2spec.tight_binding.kmesh import KMesh
from mat2spec.tight_binding.problem import Problem
from mat2spec.tight_binding.velocities import CorrectedCrystal, MovingStates, average_over_group

TEMPERATURE_K = 300.0
# How far from E_F, or from the edges of a gap, states matter at 300 K and carriers up to 1e20 per cubic centimetre.
METAL_REACH_EV, GAP_REACH_EV = 0.4, 0.8
# Distance of a chemical potential from the ends of the window: f' has fallen to 5e-6 of its maximum.
_TAIL_EV = 0.35
_EDGE_EV = 0.1
_STEP_EV = 0.002
# Widths at which states are spread over the energies, in steps of the grid.
_WIDTHS = np.concatenate([[0.0], np.geomspace(0.5, 400, 40)])
# Narrowest gap that separates the carriers of a gapped metal from other bands: ten times the thermal energy at 300 K.
SMALLEST_SEPARATION_EV = 0.25
# Smallest conductivity, relative to the largest, that can be inverted.
_SINGULAR = 1e-9


@dataclass(frozen=True)
class Coefficients:
    """Transport at one chemical potential and temperature.

    Parameters
    ----------
    level_ev
        Chemical potential, on the scale of the energies.
    conductivity
        Conductivity over the relaxation time as hbar² sigma / (e² tau), eV per Angstrom, shape (3, 3).
    seebeck_uv_per_k
        Seebeck tensor in microvolt per kelvin, negative for electrons, shape (3, 3); NaN where a direction does not conduct.
    """

    level_ev: float
    conductivity: NDArray[np.float64]
    seebeck_uv_per_k: NDArray[np.float64]

    @property
    def mean_seebeck_uv_per_k(self) -> float:
        """A third of the trace of the Seebeck tensor."""
        return float(np.trace(self.seebeck_uv_per_k)) / 3

    @property
    def plasma_energy_ev(self) -> float:
        """Hbar times the Drude plasma frequency, from the mean of the three directions."""
        return math.sqrt(4 * math.pi * COULOMB_EV_A * float(np.trace(self.conductivity)) / 3)

    def mass(self, carriers_per_cm3: float) -> float:
        """Conductivity effective mass of this many carriers in electron masses, inverse masses averaged over directions."""
        mean = float(np.trace(self.conductivity)) / 3
        return math.nan if mean <= 0 else HBAR2_OVER_MASS_EV_A2 * carriers_per_cm3 / ANGSTROM3_PER_CM3 / mean


@dataclass(frozen=True)
class TransportDistribution:
    """Density of states and transport distribution of a crystal on a grid of energies.

    Parameters
    ----------
    energies_ev
        Evenly spaced, shape (n,).
    density
        Both spins, states/eV per cell, shape (n,).
    tensor
        Sum over the states of the products of the derivatives of the energy by the wave vector, eV Angstrom² per cell,
        shape (n, 3, 3).
    volume_a3
        Of the cell.
    """

    energies_ev: NDArray[np.float64]
    density: NDArray[np.float64]
    tensor: NDArray[np.float64]
    volume_a3: float

    @classmethod
    def of(
        cls,
        states: MovingStates,
        points: FinePoints,
        cell: PrimitiveCell,
        per_state: float,
        windows_ev: NDArray[np.float64],
    ) -> TransportDistribution:
        """Spread states over a grid of energies, each by the width of its band in the cell of its k-point.

        Parameters
        ----------
        states
            In the windows.
        points
            Their k-points.
        cell
            The crystal.
        per_state
            Electrons that each state can hold.
        windows_ev
            Lowest and highest energies, shape (n_windows, 2).
        """
        start = float(windows_ev.min())
        n = math.ceil((windows_ev.max() - start) / _STEP_EV) + 1
        steps = points.steps(cell)
        # A band that is linear in a parallelepiped about its k-point spreads evenly along each edge.
        widths = np.sqrt(np.einsum("jx,nxy,jy->n", steps, states.products, steps).clip(min=0) / 12)
        tensors = average_over_group(states.products, cell).reshape(-1, 9)
        values = per_state * points.weights[states.points][:, None] * np.column_stack([np.ones(len(tensors)), tensors])
        spread = _spread((states.levels_ev - start) / _STEP_EV, widths / _STEP_EV, values, n) / _STEP_EV
        return cls(start + _STEP_EV * np.arange(n), spread[:, 0], spread[:, 1:].reshape(n, 3, 3), cell.volume)

    def between(self, low_ev: float, high_ev: float) -> TransportDistribution:
        """The same without the states outside of two energies."""
        inside = (self.energies_ev >= low_ev) & (self.energies_ev <= high_ev)
        tensor = self.tensor * inside[:, None, None]
        return TransportDistribution(self.energies_ev, self.density * inside, tensor, self.volume_a3)

    def at(self, level_ev: float, temperature_k: float = TEMPERATURE_K) -> Coefficients:
        """Transport at a chemical potential."""
        thermal = BOLTZMANN_EV_PER_K * temperature_k
        occupation = expit((level_ev - self.energies_ev) / thermal)
        weight = occupation * (1 - occupation) / thermal * _STEP_EV / self.volume_a3
        conductivity = np.einsum("e,exy->xy", weight, self.tensor)
        moment = np.einsum("e,exy->xy", weight * (self.energies_ev - level_ev), self.tensor)
        values = np.linalg.eigvalsh(conductivity)
        if values[0] <= _SINGULAR * max(values[-1], 1e-30):
            seebeck = np.full((3, 3), np.nan)
        else:
            seebeck = -1e6 / temperature_k * np.linalg.solve(conductivity, moment)
        return Coefficients(level_ev, conductivity, seebeck)

    def carriers(self, middle_ev: float, level_ev: float, temperature_k: float = TEMPERATURE_K) -> tuple[float, float]:
        """Electrons above and holes below an energy in a gap, per cubic centimetre."""
        occupation = expit((level_ev - self.energies_ev) / (BOLTZMANN_EV_PER_K * temperature_k))
        above = self.energies_ev > middle_ev
        per_state = _STEP_EV * ANGSTROM3_PER_CM3 / self.volume_a3
        electrons = float(self.density[above] @ occupation[above])
        return electrons * per_state, float(self.density[~above] @ (1 - occupation[~above])) * per_state

    def level_of(self, middle_ev: float, carriers_per_cm3: float, temperature_k: float = TEMPERATURE_K) -> float | None:
        """Chemical potential of a doped semiconductor; None if it is beyond the window.

        Parameters
        ----------
        middle_ev
            An energy in its gap.
        carriers_per_cm3
            Electrons less holes, so that holes are negative.
        temperature_k
            Temperature.
        """

        def excess(level_ev: float) -> float:
            electrons, holes = self.carriers(middle_ev, level_ev, temperature_k)
            return electrons - holes - carriers_per_cm3

        low, high = self.energies_ev[0] + _TAIL_EV, self.energies_ev[-1] - _TAIL_EV
        return float(brentq(excess, low, high, xtol=1e-7)) if excess(low) < 0 < excess(high) else None


@dataclass(frozen=True)
class BandTransport:
    """Transport of the corrected bands of one crystal.

    Parameters
    ----------
    mesh
        A coarse mesh.
    energies
        Of the bands on it in eV, shape (n_spins, n_kpoints, n_bands).
    filling
        Of these bands; gaps of at most 0.05 eV are those of a metal.
    distribution
        Transport distribution on a fine mesh, within `METAL_REACH_EV` of E_F or `GAP_REACH_EV` of the edges of the gap.
    n_electrons
        In the cell.
    """

    mesh: KMesh
    energies: NDArray[np.float64]
    filling: Filling
    distribution: TransportDistribution
    n_electrons: int

    @classmethod
    @torch.no_grad()
    def of(
        cls, problem: Problem, shifts_ev: Tensor, scales: Tensor, spacing_per_a: float = FINE_SPACING_PER_A
    ) -> BandTransport:
        """Solve the bands of a crystal on a coarse mesh and, where they matter, on a fine one.

        Parameters
        ----------
        problem
            The crystal.
        shifts_ev, scales
            Corrections, as in `mat2spec.tight_binding.problem.LinearBands.solve`.
        spacing_per_a
            As in `mat2spec.tight_binding.fine_mesh.fine_points`.
        """
        crystal = CorrectedCrystal(TightBindingCrystal.of(problem.cell), problem, shifts_ev, scales)
        return cls.of_crystal(crystal, spacing_per_a)

    @classmethod
    def of_crystal(cls, crystal: CorrectedCrystal, spacing_per_a: float = FINE_SPACING_PER_A) -> BandTransport:
        """The same of a crystal whose blocks are known."""
        cell, problem = crystal.cell, crystal.problem
        mesh = coarse_mesh(cell, crystal.crystal.basis.size)
        energies = crystal.energies(mesh.kpoints)
        filling = fill(*_all_states(energies, mesh), problem.n_electrons, len(energies))
        windows = _windows(filling)
        points = fine_points(cell, mesh, np.concatenate(energies, axis=1), windows, spacing_per_a)
        distribution = TransportDistribution.of(
            crystal.states(points.kpoints, windows), points, cell, 2 / len(energies), windows
        )
        return cls(mesh, energies, filling, distribution, problem.n_electrons)

    def metallic(self, temperature_k: float = TEMPERATURE_K) -> Coefficients | None:
        """Transport of a metal whose chemical potential follows from the count of its electrons; None for others."""
        if not self.filling.is_metal:
            return None
        energies, weights = _all_states(self.energies, self.mesh)
        level = fermi_level(energies, weights, self.n_electrons, BOLTZMANN_EV_PER_K * temperature_k)
        return self.distribution.at(float(level), temperature_k)

    def free_carriers_per_cm3(self) -> float | None:
        """Carriers of a metal between E_F and the nearest gap of its bands; None without a gap.

        Positive for the electrons above a gap below E_F, negative for the holes below a gap above it. Gaps narrower than
        `SMALLEST_SEPARATION_EV` do not count.
        """
        bottoms, tops = (np.sort(ends.ravel()) for ends in (self.energies.min(axis=1), self.energies.max(axis=1)))
        # As many bands end below a gap as begin below it.
        n_below = np.flatnonzero(bottoms[1:] - tops[:-1] > SMALLEST_SEPARATION_EV) + 1
        if not self.filling.is_metal or len(n_below) == 0:
            return None
        carriers = self.n_electrons - 2 / len(self.energies) * n_below
        fewest = float(carriers[np.abs(carriers).argmin()])
        return fewest * ANGSTROM3_PER_CM3 / self.distribution.volume_a3

    def doped(self, carriers_per_cm3: float, temperature_k: float = TEMPERATURE_K) -> Doped | None:
        """A semiconductor with this many electrons, or with holes if negative; None for a metal or beyond the window."""
        if self.filling.is_metal:
            return None
        middle = float(self.filling.zero_ev) + self.filling.gap_ev / 2
        level = self.distribution.level_of(middle, carriers_per_cm3, temperature_k)
        if level is None:
            return None
        electrons, holes = self.distribution.carriers(middle, level, temperature_k)
        own, number = ((middle, np.inf), electrons) if carriers_per_cm3 > 0 else ((-np.inf, middle), holes)
        mass = self.distribution.between(*own).at(level, temperature_k).mass(number)
        return Doped(self.distribution.at(level, temperature_k), mass)


@dataclass(frozen=True)
class Doped:
    """Transport of a doped semiconductor.

    Parameters
    ----------
    coefficients
        Of electrons and holes together.
    mass
        Conductivity effective mass of the majority carriers, in electron masses.
    """

    coefficients: Coefficients
    mass: float


def _all_states(energies: NDArray[np.float64], mesh: KMesh) -> tuple[Tensor, Tensor]:
    """Energies of both spins one after the other, and the weights of their k-points."""
    return torch.from_numpy(np.concatenate(energies)), torch.from_numpy(
        np.tile(mesh.weights, len(energies)) / len(energies)
    )


def _windows(filling: Filling) -> NDArray[np.float64]:
    """Energies about E_F, or about both edges of the gap, shape (n_windows, 2)."""
    zero = float(filling.zero_ev)
    if filling.is_metal:
        return np.array([[zero - METAL_REACH_EV, zero + METAL_REACH_EV]])
    edges = np.array([zero, zero + filling.gap_ev])
    # Edges between the points of the mesh lie somewhat inside the gap.
    inside = min(_EDGE_EV, filling.gap_ev / 2)
    return np.array([[edges[0] - GAP_REACH_EV, edges[0] + inside], [edges[1] - inside, edges[1] + GAP_REACH_EV]])


def _spread(
    positions: NDArray[np.float64], widths: NDArray[np.float64], values: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    """Sums of Gaussians on a grid of unit steps, shape (n, n_values).

    Parameters
    ----------
    positions, widths
        Centre and standard deviation of each in steps, shape (n_states,).
    values
        Their integrals, shape (n_states, n_values).
    n
        Points of the grid.
    """
    # Between two of the widths a state is divided such that its variance is right; so it is between two points of the grid.
    place = np.interp(widths**2, _WIDTHS**2, np.arange(len(_WIDTHS)))
    low, share = place.astype(int), place % 1
    point, part = np.floor(positions).astype(int), positions % 1
    total = np.zeros((n, values.shape[1]))
    for number, width in enumerate(_WIDTHS):
        of_width = np.where(low == number, 1 - share, 0) + np.where(low + 1 == number, share, 0)
        used = np.flatnonzero(of_width)
        if len(used) == 0:
            continue
        sums = np.zeros((n + 1, values.shape[1]))
        for shift, factor in ((0, 1 - part[used]), (1, part[used])):
            np.add.at(sums, (point[used] + shift).clip(0, n), values[used] * (of_width[used] * factor)[:, None])
        total += gaussian_filter1d(sums[:n], width, axis=0, mode="constant", truncate=5) if width else sums[:n]
    return total
