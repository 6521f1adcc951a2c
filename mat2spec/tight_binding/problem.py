"""One crystal prepared for repeated solution with different corrections: matrices, mesh, self-consistent potential.

The corrected Hamiltonian is

    H_ij = H0_ij (1 + k_i + k_j) + S_ij (v_i + v_j) / 2 + on-site energies,

with a shift v and a hopping scale k for every shell of every atom: linear in both, so that the gradients of an energy
are populations (Hellmann and Feynman) and need no derivative of eigenvectors. With spin there is a v for each spin, and
the states of both are concatenated along the axis of k-points, with half the weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mat2spec.crystals.magnetism import can_be_magnetic
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.channels import N_SHELLS
from mat2spec.tight_binding.charges import self_consistent_charges
from mat2spec.tight_binding.eigenproblem import (
    REMOVED_EV,
    Bands,
    Orthogonaliser,
    orthogonalise,
    populations,
    real_product,
    solve,
)
from mat2spec.tight_binding.kmesh import make_mesh
from mat2spec.tight_binding.real_basis import RealBasis

KPOINTS_PER_ATOM = 300.0
# Bands much closer than this share their derivatives.
CLOSE_BANDS_EV = 1e-3
# Edges of a gap: k-points whose edge is this near, and the bands that may meet there.
_NEAR_EDGE_EV, _DEGENERATE = 0.3, 3
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Problem:
    """Matrices of a crystal on its irreducible mesh; real where `mat2spec.tight_binding.real_basis` knows how.

    Parameters
    ----------
    cell
        The primitive cell.
    overlap
        Shape (n_kpoints, n, n).
    hopping
        Two-centre Hamiltonian without on-site energies, in eV, shape (n_kpoints, n, n).
    orthogonaliser
        Of the overlap.
    on_site_ev
        Levels of the free atoms, shape (n,).
    potentials_ev
        Self-consistent shift of each orbital, shape (n,).
    site_shells
        One row per orbital with a one in the column of its atom and shell, shape (n, 3 x n_atoms).
    weights
        Of the k-points, shape (n_kpoints,).
    n_electrons
        Valence electrons in the cell.
    notes
        Remarks for readers of the result.
    n_spins
        2 for a crystal whose spins are solved separately.
    """

    cell: PrimitiveCell
    overlap: Tensor
    hopping: Tensor
    orthogonaliser: Orthogonaliser
    on_site_ev: Tensor
    potentials_ev: Tensor
    site_shells: Tensor
    weights: Tensor
    n_electrons: int
    notes: tuple[str, ...]
    n_spins: int = 1

    @property
    def state_weights(self) -> Tensor:
        """Weights of the k-points of all spins, sum to one, shape (n_spins x n_kpoints,)."""
        return self.weights.repeat(self.n_spins) / self.n_spins

    @property
    def n_atoms(self) -> int:
        """Atoms in the primitive cell."""
        return self.cell.n_atoms

    def hamiltonian(self, shifts_ev: Tensor, scales: Tensor) -> Tensor:
        """Corrected Hamiltonian of one spin at each k-point, shape (n_kpoints, n, n).

        Parameters
        ----------
        shifts_ev, scales
            v and k of each atom and shell, flat, shape (3 x n_atoms,).
        """
        shift = self.site_shells @ shifts_ev + self.potentials_ev
        scale = self.site_shells @ scales
        matrix = self.hopping * (1 + scale[:, None] + scale)
        matrix.addcmul_(self.overlap, ((shift[:, None] + shift) / 2).to(matrix.dtype))
        torch.diagonal(matrix, dim1=-2, dim2=-1).add_(self.on_site_ev)
        return matrix


@dataclass(frozen=True)
class PreparationSettings:
    """How crystals are prepared.

    Parameters
    ----------
    kpoints_per_atom
        Points of the full mesh times atoms.
    self_consistent
        Whether the potential of the atomic charges is added.
    spin
        Whether the spins of crystals that can be magnetic are solved separately.
    dtype
        Precision of the matrices.
    device
        Where they are solved.
    equal_orbits
        Whether the corrections are the same on equivalent atoms, as a model without dropout gives them; matrices of
        crystals with inversion are then real.
    """

    kpoints_per_atom: float = KPOINTS_PER_ATOM
    self_consistent: bool = True
    spin: bool = False
    dtype: torch.dtype = torch.complex128
    device: torch.device = _CPU
    equal_orbits: bool = False


def prepare(cell: PrimitiveCell, settings: PreparationSettings | None = None) -> Problem:
    """Matrices of a crystal.

    Raises
    ------
    mat2spec.tight_binding.parameters.ParametersError
        If an element is not tabulated.
    """
    settings = settings or PreparationSettings()
    crystal = TightBindingCrystal.of(cell)
    basis = crystal.basis
    mesh = make_mesh(cell, settings.kpoints_per_atom)
    real = settings.dtype.to_real()
    real_basis = RealBasis(crystal, equal_orbits=settings.equal_orbits, dtype=real)
    overlap, hopping = (matrix.to(settings.device) for matrix in real_basis.matrices(mesh.kpoints))
    potentials, notes = torch.zeros(basis.size), []
    if settings.self_consistent:
        fits = settings.equal_orbits and real == torch.float32
        charges = self_consistent_charges(crystal, basis=real_basis if fits else None)
        potentials = torch.from_numpy(charges.potentials_ev[basis.atom])
        if not charges.converged:
            notes.append(f"The charges of the atoms are not self-consistent after {charges.steps} steps.")
    orthogonaliser = orthogonalise(overlap)
    if orthogonaliser.n_removed:
        notes.append(f"{orthogonaliser.n_removed} nearly dependent directions were removed from the basis.")
    return Problem(
        cell,
        overlap,
        hopping,
        orthogonaliser,
        torch.from_numpy(basis.on_site_ev).to(settings.device, real),
        potentials.to(settings.device, real),
        torch.eye(N_SHELLS * basis.n_atoms, dtype=real, device=settings.device)[torch.from_numpy(basis.site_shell)],
        torch.from_numpy(mesh.weights).to(settings.device, real),
        basis.n_electrons,
        tuple(notes),
        2 if settings.spin and can_be_magnetic(cell.atomic_numbers) else 1,
    )


@dataclass(frozen=True)
class LinearBands:
    """Bands at one set of corrections and how they change with others, to first order.

    Parameters
    ----------
    energies
        In eV, shape (n_spins x n_kpoints, n).
    by_shifts, by_scales
        Derivative by the shift (of the same spin) and by the hopping scale of each shell, shape
        (n_spins x n_kpoints, n, 3 x n_atoms); by the shift it is the Mulliken population.
    """

    energies: Tensor
    by_shifts: Tensor
    by_scales: Tensor

    @classmethod
    def solve(cls, problem: Problem, shifts_ev: Tensor, scales: Tensor) -> LinearBands:
        """Solve the corrected Hamiltonian; derivatives by the theorem of Hellmann and Feynman.

        Parameters
        ----------
        problem
            The crystal.
        shifts_ev, scales
            Of each spin and shell, shape (n_spins, 3 x n_atoms), and of each shell, shape (3 x n_atoms,).
        """
        real = problem.weights.dtype
        spins = [_solve_spin(problem, of_spin, scales.to(real)) for of_spin in shifts_ev.to(real)]
        energies, *derivatives = (torch.cat(each) for each in zip(*spins, strict=True))
        return cls(energies, *shared_by_close_bands(energies, *derivatives))

    def at(self, shifts_ev: Tensor, scales: Tensor) -> Tensor:
        """Energies after changes of shifts and scales, in the order of the bands before.

        Parameters
        ----------
        shifts_ev, scales
            Changes of several members, shape (n_members, n_spins, 3 x n_atoms) and (n_members, 3 x n_atoms).

        Returns
        -------
        Tensor
            Of each member, shape (n_members, n_spins x n_kpoints, n).
        """
        real = self.by_shifts.dtype
        by_shifts = self.by_shifts.unflatten(0, (shifts_ev.shape[1], -1))
        by_spin = torch.einsum("skbg,msg->mskb", by_shifts, shifts_ev.to(real)).flatten(1, 2)
        return self.energies + by_spin + (self.by_scales @ scales.to(real).T).movedim(-1, 0)


def _solve_spin(problem: Problem, shifts_ev: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Energies of one spin and their derivatives, as in `LinearBands`."""
    bands = solve(problem.hamiltonian(shifts_ev, scales), problem.orthogonaliser)
    by_shifts = populations(problem.overlap, bands.coefficients, problem.site_shells)
    by_scales = 2 * populations(problem.hopping, bands.coefficients, problem.site_shells)
    if problem.weights.dtype == torch.float64:
        return bands.energies, by_shifts, by_scales
    return _expected_energies(problem, bands, by_shifts, by_scales, (shifts_ev, scales)), by_shifts, by_scales


def _expected_energies(
    problem: Problem, bands: Bands, by_shifts: Tensor, by_scales: Tensor, corrections: tuple[Tensor, Tensor]
) -> Tensor:
    """Energies as expectation values, whose error is of second order in that of the coefficients.

    In single precision they are several times as good as those of the solver, and come from numbers that are there. They are
    returned in double precision: rounded, they would shift the edges of a gap.
    """
    shells = problem.site_shells.double()
    of_shells = (problem.potentials_ev.double() @ shells) / shells.sum(dim=0).clamp_min(1)
    shifts_ev, scales = (each.double() for each in corrections)
    shares = by_shifts.double()
    # Single precision would lose in this sum what is gained: its terms are large, and nearly cancel with the others.
    on_site = problem.on_site_ev.double() @ real_product(bands.coefficients, bands.coefficients).double()
    expected = shares @ (shifts_ev + of_shells) + by_scales.double() @ (0.5 + scales) + on_site
    energies = expected / shares.sum(dim=-1)
    if problem.orthogonaliser.removed is None:
        return _with_exact_edges(energies, problem, bands.coefficients, corrections)
    return torch.where(bands.energies < REMOVED_EV / 2, energies, bands.energies.double())


def _with_exact_edges(
    energies: Tensor, problem: Problem, coefficients: Tensor, corrections: tuple[Tensor, Tensor]
) -> Tensor:
    """Energies with those of states near the edges of a gap from matrices in double precision.

    The bin that an edge divides keeps the part of its states outside the gap, in which an error of 1e-6 eV is seen.
    """
    half, odd = divmod(problem.n_electrons, 2)
    if odd or problem.n_spins == 2 or not 0 < half < energies.shape[1]:
        return energies
    below, above = energies[:, half - 1], energies[:, half]
    if below.max() >= above.min():
        return energies
    near = ((below > below.max() - _NEAR_EDGE_EV) | (above < above.min() + _NEAR_EDGE_EV)).nonzero()[:, 0]
    double = torch.complex128 if coefficients.is_complex() else torch.float64
    bands = slice(max(half - _DEGENERATE, 0), half + _DEGENERATE)
    overlap, states = problem.overlap[near].to(double), coefficients[near, :, bands].to(double)
    exact = replace(
        problem,
        overlap=overlap,
        hopping=problem.hopping[near].to(double),
        on_site_ev=problem.on_site_ev.double(),
        potentials_ev=problem.potentials_ev.double(),
        site_shells=problem.site_shells.double(),
    ).hamiltonian(*(each.double() for each in corrections))
    energies = energies.clone()
    norms = real_product(states, overlap @ states).sum(dim=1)
    energies[near, bands] = real_product(states, exact @ states).sum(dim=1) / norms
    return energies


def shared_by_close_bands(energies: Tensor, *derivatives: Tensor) -> tuple[Tensor, ...]:
    """Derivatives as means over bands that are much closer than `CLOSE_BANDS_EV`, shape (n_kpoints, n, ...) each.

    Which combinations of states of one energy a solver returns is arbitrary, and so are their derivatives; the mean
    is not. Where symmetry makes the energies equal, it is the derivative of each of them.
    """
    gaps = ((energies[:, :, None] - energies[:, None, :]) / CLOSE_BANDS_EV).to(derivatives[0].dtype)
    # Clamped, as numbers below 1e-38 are slow.
    close = torch.exp(-gaps.square().clamp_max(80.0))
    close /= close.sum(dim=-1, keepdim=True)
    return tuple(close @ each for each in derivatives)


class CorrectedBands(torch.autograd.Function):
    """Energies as a differentiable function of shifts and scales, with the populations of the shells."""

    @staticmethod
    def forward(ctx: Any, shifts_ev: Tensor, scales: Tensor, problem: Problem) -> tuple[Tensor, Tensor]:
        """Energies in eV and Mulliken populations of the shells, shaped as in `LinearBands`."""
        bands = LinearBands.solve(problem, shifts_ev, scales)
        ctx.bands, ctx.n_spins = bands, problem.n_spins
        ctx.mark_non_differentiable(bands.by_shifts)
        return bands.energies, bands.by_shifts

    @staticmethod
    def backward(ctx: Any, by_energies: Tensor, _by_shares: Tensor) -> tuple[Tensor, Tensor, None]:
        """Chain rule."""
        by_energies = by_energies.to(ctx.bands.by_shifts.dtype)
        of_spins = (tensor.unflatten(0, (ctx.n_spins, -1)) for tensor in (by_energies, ctx.bands.by_shifts))
        by_shifts = torch.einsum("skb,skbg->sg", *of_spins)
        by_scales = torch.einsum("kb,kbg->g", by_energies, ctx.bands.by_scales)
        return by_shifts.float(), by_scales.float(), None


def corrected_bands(problem: Problem, shifts_ev: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Energies with gradient and populations without, see `CorrectedBands`."""
    energies, shares = CorrectedBands.apply(shifts_ev, scales, problem)
    return energies, shares
