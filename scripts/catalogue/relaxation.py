"""Batched relaxation of crystals of one prototype within its symmetry.

The free parameters are the symmetry-allowed strains and internal displacements: one for a cubic cell, few for
most others. Every crystal has its own quasi-Newton search; energies are evaluated for all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from chgnet.model import CHGNet
from numpy.typing import NDArray

from scripts.catalogue.candidates import covalent_radii
from scripts.catalogue.energy import ANGLE_CUTOFF, BOND_CUTOFF, Evaluation, PrototypeEnergy
from scripts.catalogue.settings import CatalogueSettings
from scripts.catalogue.symmetry import SymmetricCell, orbit_table

FloatArray = NDArray[np.float64]

GPA_PER_EV_PER_A3 = 160.21766208
STRAIN_STIFFNESS = 0.6
"""Initial curvature of the energy per volume, eV/Angstrom^3 (about 100 GPa)."""
DISPLACEMENT_STIFFNESS = 10.0
"""Initial curvature along a displacement, eV/Angstrom^2."""
MAX_STRAIN, MAX_DISPLACEMENT = 0.06, 0.15
"""Longest step: strain, and amplitude in Angstrom."""
REACH_MARGIN = 1.12
MAX_TABLE_GROWTH = 2.0


@dataclass(frozen=True)
class Relaxation:
    """Relaxed crystals, one entry per crystal along the first axis.

    Attributes
    ----------
    lattices
        Row vectors in Angstrom, (B, 3, 3).
    frac_coords
        (B, N, 3).
    energy
        eV per cell, (B,).
    max_force, max_stress
        Largest force on an atom in eV/Angstrom and stress component in GPa, (B,).
    steps
        Number of energy and gradient evaluations, (B,).
    converged
        Whether both tolerances were met, (B,).
    contact
        Shortest bond in sums of covalent radii, (B,).
    collapsed
        True where atoms came too close or the search left the numbers, (B,).
    """

    lattices: FloatArray
    frac_coords: FloatArray
    energy: FloatArray
    max_force: FloatArray
    max_stress: FloatArray
    steps: NDArray[np.int64]
    converged: NDArray[np.bool_]
    contact: FloatArray
    collapsed: NDArray[np.bool_]


def relax(
    model: CHGNet,
    cell: SymmetricCell,
    elements: NDArray[np.int64],
    scales: FloatArray,
    scan: tuple[float, ...],
    settings: CatalogueSettings,
) -> Relaxation:
    """Relax crystals of one prototype, each started at its best scanned lattice scale.

    Parameters
    ----------
    model
        A frozen CHGNet.
    cell
        The prototype.
    elements
        Atomic number of each slot, (B, n_slots).
    scales
        Estimated lattice scale of each crystal, (B,).
    scan
        Factors on that scale to try first; the lowest energy is the start.
    settings
        Tolerances and limits.
    """
    smallest = float(scales.min()) * min(scan) / REACH_MARGIN
    search = _Search(model, cell, elements, smallest, settings)
    search.start(search.best_scale(scales, scan))
    while search.active.any():
        search.step()
    return search.result()


class _Search:
    """State of the quasi-Newton searches of a batch."""

    def __init__(
        self, model: CHGNet, cell: SymmetricCell, elements: NDArray[np.int64], scale: float, settings: CatalogueSettings
    ) -> None:
        self.model, self.cell, self.elements, self.settings = model, cell, elements, settings
        self.n_strains = len(cell.strain_basis)
        self.growth = 1.0
        self.scale = scale
        self._build_table()

    def _build_table(self) -> None:
        margin = 0.3 if len(self.cell.displacement_basis) else 0.0
        reach = (BOND_CUTOFF + margin) / self.scale * self.growth
        angle_reach = (ANGLE_CUTOFF + margin) / self.scale * self.growth
        table = orbit_table(self.cell, reach, angle_reach)
        self.potential = PrototypeEnergy(self.model, self.cell, table, covalent_radii())

    def best_scale(self, scales: FloatArray, scan: tuple[float, ...]) -> FloatArray:
        """Scale of lowest energy among the scanned ones whose atoms are not too close, (B,)."""
        if len(scan) == 1:
            return scales * scan[0]
        energies = np.full((len(scan), len(scales)), np.inf)
        still = np.zeros((len(scales), len(self.cell.displacement_basis)))
        for row, factor in enumerate(scan):
            lattices = (scales * factor)[:, None, None] * self.cell.lattice
            evaluation = self.potential.evaluate(self.elements, lattices, still, gradients=False)
            allowed = (evaluation.min_distance_ratio >= self.settings.min_contact) & np.isfinite(evaluation.energy)
            energies[row, allowed] = evaluation.energy[allowed]
        best = np.where(np.isfinite(energies).any(axis=0), energies.argmin(axis=0), len(scan) - 1)
        return scales * np.asarray(scan)[best]

    def start(self, scales: FloatArray) -> None:
        """Set up the state at the given lattice scales and evaluate it."""
        n, n_free = len(scales), self.cell.n_parameters
        self.lattices = scales[:, None, None] * self.cell.lattice
        self.amplitudes = np.zeros((n, n_free - self.n_strains))
        volumes = np.abs(np.linalg.det(self.lattices))
        self.hessian = np.zeros((n, n_free, n_free))
        diagonal = np.arange(n_free)
        stiffness = np.full((n, n_free), DISPLACEMENT_STIFFNESS)
        stiffness[:, : self.n_strains] = STRAIN_STIFFNESS * volumes[:, None]
        self.hessian[:, diagonal, diagonal] = stiffness
        self.trust = np.ones(n)
        self.steps = np.ones(n, dtype=np.int64)
        self.collapsed = np.zeros(n, dtype=bool)
        self.energy, self.gradient, self.contact = self._evaluate(np.arange(n), self.lattices, self.amplitudes)
        self._measure()

    def _evaluate(
        self, rows: NDArray[np.int64], lattices: FloatArray, amplitudes: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Energy, gradient and contact ratio; NaN where the geometry outgrew every table."""
        covered = self.potential.covers(lattices, amplitudes)
        while not covered.all() and self.growth < MAX_TABLE_GROWTH:
            self.growth *= 1.15
            self._build_table()
            covered = self.potential.covers(lattices, amplitudes)
        energy, contact = np.full(len(rows), np.nan), np.zeros(len(rows))
        gradient = np.full((len(rows), self.cell.n_parameters), np.nan)
        if covered.any():
            found: Evaluation = self.potential.evaluate(
                self.elements[rows][covered], lattices[covered], amplitudes[covered]
            )
            energy[covered], contact[covered] = found.energy, found.min_distance_ratio
            gradient[covered] = np.concatenate([found.strain_gradient, found.displacement_gradient], axis=1)
        return energy, gradient, contact

    def _measure(self) -> None:
        """Update forces, stresses, convergence and the set of active searches."""
        volumes = np.abs(np.linalg.det(self.lattices))
        strain = self.gradient[:, : self.n_strains]
        stress = np.tensordot(strain, self.cell.strain_basis, axes=1) / volumes[:, None, None]
        self.max_stress = np.abs(stress).max(axis=(1, 2)) * GPA_PER_EV_PER_A3
        self.max_force = _largest_forces(
            self.cell.displacement_basis, self.lattices, self.gradient[:, self.n_strains :]
        )
        bad = ~np.isfinite(self.energy) | (self.contact < self.settings.min_contact)
        self.collapsed |= bad
        self.converged = (
            (self.max_stress < self.settings.stress_tolerance_gpa)
            & (self.max_force < self.settings.force_tolerance_ev_per_a)
            & ~self.collapsed
        )
        self.active = ~self.converged & ~self.collapsed & (self.steps < self.settings.max_steps)
        self.active &= self.trust > 1e-4

    def step(self) -> None:
        """Move every active search by one step; take back steps that raise the energy."""
        rows = np.flatnonzero(self.active)
        move = self._newton_step(rows)
        strain = np.tensordot(move[:, : self.n_strains], self.cell.strain_basis, axes=1)
        growth = torch.linalg.matrix_exp(torch.from_numpy(strain)).numpy()
        lattices = self.lattices[rows] @ growth
        amplitudes = self.amplitudes[rows] + move[:, self.n_strains :]
        energy, gradient, contact = self._evaluate(rows, lattices, amplitudes)
        self.steps[rows] += 1
        usable = np.isfinite(energy) & (contact >= self.settings.min_contact)
        self._learn(rows[usable], move[usable], gradient[usable])
        rise = energy - self.energy[rows]
        accepted = usable & (rise <= 2e-5 * len(self.cell.frac_coords))
        self.trust[rows] = np.where(accepted, np.minimum(1.0, self.trust[rows] * 1.6), self.trust[rows] * 0.35)
        kept = rows[accepted]
        self.lattices[kept], self.amplitudes[kept] = lattices[accepted], amplitudes[accepted]
        self.energy[kept], self.gradient[kept] = energy[accepted], gradient[accepted]
        self.contact[kept] = contact[accepted]
        self._measure()

    def _newton_step(self, rows: NDArray[np.int64]) -> FloatArray:
        """Step along the eigenvectors of the Hessian, downhill on negative curvature too, within the trust radius."""
        values, vectors = np.linalg.eigh(self.hessian[rows])
        projected = np.einsum("bk,bkv->bv", self.gradient[rows], vectors)
        move = -np.einsum("bv,bkv->bk", projected / np.maximum(np.abs(values), 0.3), vectors)
        limit = np.full(move.shape[1], MAX_DISPLACEMENT)
        limit[: self.n_strains] = MAX_STRAIN
        excess = (np.abs(move) / limit).max(axis=1) / self.trust[rows]
        return move / np.maximum(excess, 1.0)[:, None]

    def _learn(self, rows: NDArray[np.int64], move: FloatArray, gradient: FloatArray) -> None:
        """BFGS update of the Hessians."""
        change = gradient - self.gradient[rows]
        curvature = np.einsum("bk,bk->b", move, change)
        image = np.einsum("bkl,bl->bk", self.hessian[rows], move)
        expected = np.einsum("bk,bk->b", move, image)
        sound = (np.abs(curvature) > 1e-9) & (np.abs(expected) > 1e-9)
        rows, change, image = rows[sound], change[sound], image[sound]
        self.hessian[rows] += (
            change[:, :, None] * change[:, None] / curvature[sound, None, None]
            - image[:, :, None] * image[:, None] / expected[sound, None, None]
        )

    def result(self) -> Relaxation:
        """Collect the final state."""
        displacements = np.tensordot(self.amplitudes, self.cell.displacement_basis, axes=1)
        return Relaxation(
            lattices=self.lattices,
            frac_coords=(self.cell.frac_coords + displacements) % 1.0,
            energy=self.energy,
            max_force=self.max_force,
            max_stress=self.max_stress,
            steps=self.steps,
            converged=self.converged,
            contact=self.contact,
            collapsed=self.collapsed,
        )


def _largest_forces(basis: FloatArray, lattices: FloatArray, gradient: FloatArray) -> FloatArray:
    """Largest force on an atom in eV/Angstrom, (B,), from the gradient by displacement amplitudes, (B, D)."""
    if len(basis) == 0:
        return np.zeros(len(lattices))
    displacements = np.einsum("dna,bac->bdnc", basis, lattices)
    overlap = np.einsum("bdnc,benc->bde", displacements, displacements)
    weights = np.linalg.solve(overlap, -gradient[..., None])[..., 0]
    forces = np.einsum("bd,bdnc->bnc", weights, displacements)
    return np.linalg.norm(forces, axis=-1).max(axis=1)
