"""Make the Slater-Koster tables of the model tight-binding from first principles.

    python -m scripts.tight_binding_parameters

No integral is fitted or taken from elsewhere. Takes half a minute on one core; conventions and units are described in
`docs/tight_binding.md` and `mat2spec.tight_binding.parameters`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mat2spec.tight_binding.parameters import PARAMETERS_FILE, SlaterKosterTables, save_tables
from scripts.tight_binding_parameters.atoms import (
    BOHR_A,
    HARTREE_EV,
    BasisAtom,
    Confinement,
    basis_atom,
    hubbard_u,
)
from scripts.tight_binding_parameters.elements import ELEMENTS, valence_electrons
from scripts.tight_binding_parameters.integrals import two_centre_integrals

DISTANCES_BOHR = np.geomspace(1.2, 15.0, 22)
# A pair reaches to where its overlap, and its Hamiltonian over 15 eV, have fallen below this.
_THRESHOLD, _HAMILTONIAN_SCALE_EV = 2e-3, 15.0
_LONGEST_A = 7.5


def make_tables(elements: tuple[int, ...] = ELEMENTS, confinement: Confinement | None = None) -> SlaterKosterTables:
    """Tables of the given elements, in eV and Angstrom."""
    atoms = [basis_atom(number, confinement or Confinement()) for number in elements]
    overlap, hamiltonian = two_centre_integrals(atoms, DISTANCES_BOHR.tolist())
    return _tables(atoms, overlap, hamiltonian * HARTREE_EV)


def _tables(
    atoms: list[BasisAtom], overlap: NDArray[np.float64], hamiltonian_ev: NDArray[np.float64]
) -> SlaterKosterTables:
    distances = DISTANCES_BOHR * BOHR_A
    size = np.maximum(np.abs(overlap), np.abs(hamiltonian_ev) / _HAMILTONIAN_SCALE_EV).max(axis=-1)
    large = size > _THRESHOLD
    large |= large.transpose(0, 2, 1)
    last = len(distances) - 1 - np.argmax(large[::-1], axis=0)
    cutoffs = np.minimum(distances[np.minimum(last + 1, len(distances) - 1)] + 0.5, _LONGEST_A)
    beyond = np.arange(len(distances))[:, None, None] > np.searchsorted(distances, cutoffs) + 2
    overlap[beyond], hamiltonian_ev[beyond] = 0.0, 0.0
    numbers = [atom.atomic_number for atom in atoms]
    return SlaterKosterTables(
        atomic_numbers=np.array(numbers),
        on_site_ev=np.array([atom.free_levels for atom in atoms]) * HARTREE_EV,
        valence_electrons=np.array([valence_electrons(number) for number in numbers]),
        hubbard_u_ev=np.array([hubbard_u(number) for number in numbers]) * HARTREE_EV,
        distances_a=distances,
        cutoffs_a=cutoffs,
        overlap=overlap,
        hamiltonian_ev=hamiltonian_ev,
    )


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PARAMETERS_FILE, help="The file to write.")
    path = parser.parse_args().out
    save_tables(path, make_tables())
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {len(ELEMENTS)} elements.")


if __name__ == "__main__":
    main()
