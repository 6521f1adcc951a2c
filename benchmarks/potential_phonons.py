"""Phonons from the force constants of SevenNet itself, alone and mixed with the spectra of a model.

    pip install phonopy
    OMP_NUM_THREADS=1 python benchmarks/potential_phonons.py DATA FOLDER [--crystals 60] [--model sitedos]

Random ones of the validation and test materials of the published split, at the given structures, by finite displacements of
0.02 Angstrom in supercells of at least 8 Angstrom and 24 atoms. Neither Born charges nor spectra enter. Frequencies of each
crystal are kept in FOLDER and not computed again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.kinds import SevenNetVersion
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.readers.data_folder import load_phdos
from mat2spec.prediction import load_predictor
from mat2spec.spectra.grids import PHDOS_GRID
from mat2spec.spectra.metrics import normalise_sum, r2_score, wasserstein_distances

CM1_PER_THZ = 33.35641
DISPLACEMENT_A = 0.02
LEAST_LENGTH_A, LEAST_ATOMS = 8.0, 24
# k-points along a reciprocal vector times the length of the lattice vector.
MESH_LENGTH_A = 45.0
SMEARING_CM1 = 15.0
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0)


def supercell(cell: PrimitiveCell) -> NDArray[np.int64]:
    """Repetitions along each lattice vector."""
    lengths = np.linalg.norm(cell.lattice, axis=1)
    times = np.maximum(1, np.ceil(LEAST_LENGTH_A / lengths - 0.05).astype(int))
    while times.prod() * cell.n_atoms < LEAST_ATOMS:
        times[np.argmin(times * lengths)] += 1
    return times


def frequencies(cell: PrimitiveCell, calculator: object) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies in cm-1, imaginary ones negative, shape (n_q, 3 n_atoms), and the weights of the wave vectors."""
    from ase import Atoms
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    given = PhonopyAtoms(numbers=cell.atomic_numbers, cell=cell.lattice, scaled_positions=cell.frac_coords)
    phonons = Phonopy(given, np.diag(supercell(cell)), primitive_matrix=np.eye(3), log_level=0)
    phonons.generate_displacements(distance=DISPLACEMENT_A)
    phonons.forces = [
        Atoms(
            numbers=moved.numbers,
            cell=moved.cell,
            scaled_positions=moved.scaled_positions,
            pbc=True,
            calculator=calculator,
        ).get_forces()
        for moved in phonons.supercells_with_displacements
    ]
    phonons.produce_force_constants()
    phonons.symmetrize_force_constants()
    mesh = np.maximum(1, np.round(MESH_LENGTH_A / np.linalg.norm(cell.lattice, axis=1)).astype(int))
    phonons.run_mesh(mesh, with_eigenvectors=False)
    found = phonons.get_mesh_dict()
    return found["frequencies"] * CM1_PER_THZ, found["weights"]


def spectrum(found: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smeared density on the grid of the labels, which sums to one; imaginary frequencies count by their size."""
    edges = PHDOS_GRID.edges
    fine = np.arange(0.0, 1600.0) + 0.5
    histogram, _ = np.histogram(
        np.abs(found), bins=np.arange(1601.0), weights=np.repeat(weights[:, None], found.shape[1], 1)
    )
    kernel = np.exp(-0.5 * (np.arange(-100, 101) / SMEARING_CM1) ** 2)
    smeared = np.convolve(histogram, kernel / kernel.sum(), mode="same")
    return normalise_sum(np.histogram(fine, bins=edges, weights=smeared)[0])


def by_potential(crystals: Crystals, folder: Path, version: str) -> tuple[NDArray[np.float64], float, float]:
    """Spectra, processor time of each in s, and the share of crystals with modes below -20 cm-1."""
    from sevenn.calculator import SevenNetCalculator

    calculator = SevenNetCalculator(version, device="cpu")
    spectra, seconds, unstable = [], [], 0
    for index, name in enumerate(crystals.material_ids):
        path = folder / f"{name}-{version}.npz"
        if not path.exists():
            start = time.process_time()
            found, weights = frequencies(PrimitiveCell.of_crystal(crystals, index), calculator)
            np.savez(path, frequencies=found, weights=weights, seconds=time.process_time() - start)
        with np.load(path) as stored:
            spectra.append(spectrum(stored["frequencies"], stored["weights"]))
            seconds.append(float(stored["seconds"]))
            unstable += bool(stored["frequencies"].min() < -20.0)
    return np.array(spectra), float(np.mean(seconds)), unstable / len(spectra)


def main() -> None:
    """Print R2 (three modes per atom) and the Wasserstein distance for each share of the potential's spectrum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--crystals", type=int, default=60)
    parser.add_argument("--version", default=str(SevenNetVersion.L3I5))
    parser.add_argument("--model", default="sitedos")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    data = load_phdos(given.data, GraphSettings(), pretraining=False)
    held_out = np.flatnonzero(np.isin(data.split, ["valid", "test"]))
    chosen = np.random.default_rng(0).permutation(held_out)[: given.crystals]
    assert data.crystals is not None
    crystals, true = data.crystals.take(chosen), normalise_sum(data.spectra[chosen])
    own, seconds, unstable = by_potential(crystals, given.folder, given.version)
    model = normalise_sum(load_predictor(given.model, PHDOS_GRID.name, device="cpu").predict(crystals).spectra)
    print(f"{len(crystals)} crystals, {seconds:.1f} s of processor time each, {unstable:.0%} with imaginary modes\n")
    print(f"| share of {given.version} in the mean with {given.model} | R2 (3N) | WD / cm-1 |\n|---|---|---|")
    for share in SHARES:
        mixed = share * own + (1 - share) * model
        distance = wasserstein_distances(true, mixed, PHDOS_GRID).mean()
        print(f"| {share:g} | {r2_score(true, mixed):.3f} | {distance:.2f} |")


if __name__ == "__main__":
    main()
