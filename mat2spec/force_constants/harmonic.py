"""Force constants of a crystal by finite displacements, and its harmonic phonons (phonopy)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mat2spec.crystals.elements import atomic_masses
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.spectra.grids import PHDOS_GRID
from mat2spec.spectra.metrics import normalise_sum
from mat2spec.spectra.phonons import CM1_PER_THZ

if TYPE_CHECKING:
    from phonopy import Phonopy
    from phonopy.phonon.mesh import Mesh
    from phonopy.structure.atoms import PhonopyAtoms

Forces = Callable[["PhonopyAtoms"], NDArray[np.float64]]

# One-sided, against the forces at rest, which structures that another functional relaxed do have. So small that terms of third
# order stay below 1 %, so large that those of single precision do.
DISPLACEMENT_A = 0.005
LEAST_LENGTH_A, LEAST_ATOMS = 8.0, 24
# Wave vectors along a reciprocal vector times the length of the lattice vector.
MESH_LENGTH_A = 45.0
SMEARING_CM1 = 15.0
_STEP_CM1, _HIGHEST_CM1 = 2.0, 5000.0
# What the shares of the modes depend on.
CHOICES = (DISPLACEMENT_A, LEAST_LENGTH_A, LEAST_ATOMS, MESH_LENGTH_A, _STEP_CM1)
# Centres of the bins in which modes are counted.
MODE_FREQUENCIES_CM1 = np.arange(0.0, _HIGHEST_CM1, _STEP_CM1) + _STEP_CM1 / 2


def repetitions(cell: PrimitiveCell) -> NDArray[np.int64]:
    """Times that a cell is repeated along each lattice vector in its supercell."""
    lengths = np.linalg.norm(cell.lattice, axis=1)
    times = np.maximum(1, np.ceil(LEAST_LENGTH_A / lengths - 0.05).astype(np.int64))
    while times.prod() * cell.n_atoms < LEAST_ATOMS:
        times[np.argmin(times * lengths)] += 1
    return times


def displaced(cell: PrimitiveCell) -> Phonopy:
    """The supercell of a crystal and the displacements that its symmetry leaves."""
    # Takes half a second to import, and is not needed by other models.
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    given = PhonopyAtoms(
        numbers=cell.atomic_numbers,
        masses=atomic_masses()[cell.atomic_numbers].astype(np.float64),
        cell=cell.lattice,
        scaled_positions=cell.frac_coords,
    )
    with warnings.catch_warnings():
        # That the supercell has fewer symmetries than the crystal.
        warnings.simplefilter("ignore")
        phonons = Phonopy(given, np.diag(repetitions(cell)), primitive_matrix=np.eye(3), log_level=0)
        phonons.generate_displacements(distance=DISPLACEMENT_A, is_plusminus=False)
    return phonons


def n_forces(phonons: Phonopy) -> int:
    """How many atoms' forces its force constants take, by which their cost grows."""
    return len(phonons.supercell) * (1 + len(phonons.displacements))


def solve(phonons: Phonopy, forces: Forces) -> None:
    """Give the phonons of `displaced` their force constants.

    Parameters
    ----------
    phonons
        Where they go.
    forces
        On the atoms of a supercell in eV/Angstrom.
    """
    at_rest = forces(phonons.supercell)
    phonons.forces = [forces(moved) - at_rest for moved in phonons.supercells_with_displacements or []]
    phonons.produce_force_constants(calculate_full_force_constants=False)
    phonons.symmetrize_force_constants()


def modes(phonons: Phonopy) -> NDArray[np.float64]:
    """Share of the modes in each bin of `MODE_FREQUENCIES_CM1`; imaginary frequencies count by their size."""
    lengths = np.linalg.norm(phonons.primitive.cell, axis=1)
    with warnings.catch_warnings():
        # That a shifted mesh has fewer symmetries than the crystal.
        warnings.simplefilter("ignore")
        phonons.run_mesh(np.maximum(1, np.round(MESH_LENGTH_A / lengths).astype(int)))
    mesh = cast("Mesh", phonons.mesh)
    return mode_histogram(mesh.frequencies * CM1_PER_THZ, mesh.weights)


def mode_histogram(frequencies_cm1: NDArray[np.float64], weights: NDArray[np.integer]) -> NDArray[np.float64]:
    """Share of the modes in each bin.

    Parameters
    ----------
    frequencies_cm1
        At each wave vector, imaginary ones negative, shape (n_wave_vectors, 3 n_atoms).
    weights
        Of the wave vectors, shape (n_wave_vectors,).
    """
    of_modes = np.repeat(weights[:, None], frequencies_cm1.shape[1], axis=1)
    edges = np.append(MODE_FREQUENCIES_CM1 - _STEP_CM1 / 2, _HIGHEST_CM1)
    histogram, _ = np.histogram(np.abs(frequencies_cm1), bins=edges, weights=of_modes)
    return normalise_sum(histogram)


def spectrum_of_modes(shares: NDArray[np.floating], factor: float = 1.0) -> NDArray[np.float64]:
    """Density of states on `PHDOS_GRID` that sums to one: a Gaussian of `SMEARING_CM1` for each mode.

    Parameters
    ----------
    shares
        Of the modes, shape (MODE_FREQUENCIES_CM1.size,).
    factor
        By which frequencies are multiplied.
    """
    used = np.flatnonzero(shares)
    distances = PHDOS_GRID.edges - factor * MODE_FREQUENCIES_CM1[used, None]
    below = ndtr(distances / SMEARING_CM1)
    return normalise_sum(np.asarray(shares, dtype=np.float64)[used] @ np.diff(below, axis=1))
