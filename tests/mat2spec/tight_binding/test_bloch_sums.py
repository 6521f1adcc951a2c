from unittest.mock import patch

import numpy as np
import pytest
import torch

from mat2spec.tight_binding import bloch_sums
from mat2spec.tight_binding.bloch import TightBindingCrystal
from tests.mat2spec.tight_binding.conftest import as_given, low_symmetry, rock_salt, solid

KPOINTS = np.array([[0, 0, 0], [0.5, 0, 0.5], [0.2, -0.1, 0.45]])


def a_molecule():
    """Of which the pairs of most atoms are out of reach."""
    return as_given(np.eye(3) * 25, [[0, 0, 0], [0, 0, 0.04], [0.4, 0.4, 0.4]], [8, 22, 1])


def from_low_symmetry():
    structure = low_symmetry()
    return as_given(structure.lattice.matrix, structure.frac_coords, np.array(structure.atomic_numbers))


def term_by_term(crystal, kpoints):
    """Overlap and hopping as the formula has them, one pair after the other."""
    first, n = crystal.basis.first_orbital, crystal.basis.size
    matrices = np.zeros((2, len(kpoints), n, n), dtype=complex)
    for a, b, offset, blocks in zip(crystal.first, crystal.second, crystal.offsets, crystal.blocks, strict=True):
        rows, columns = slice(first[a], first[a + 1]), slice(first[b], first[b + 1])
        chosen = blocks[:, None, : rows.stop - rows.start, : columns.stop - columns.start]
        matrices[:, :, rows, columns] += np.exp(2j * np.pi * kpoints @ offset)[:, None, None] * chosen
    matrices += matrices.conj().swapaxes(-1, -2)
    matrices[0] += np.eye(n)
    return matrices


@pytest.mark.parametrize(
    "cell", [rock_salt(), solid("Fd-3m", 5.47, ["Si"], [[0, 0, 0]]), from_low_symmetry(), a_molecule()]
)
def test_matrices_are_the_sums_over_all_pairs(cell):
    crystal = TightBindingCrystal.of(cell)
    assert np.array(crystal.matrices(KPOINTS)) == pytest.approx(term_by_term(crystal, KPOINTS), abs=1e-12)


def test_k_points_that_do_not_fit_into_memory_together_are_summed_apart():
    crystal = TightBindingCrystal.of(rock_salt())
    together = np.array(crystal.matrices(KPOINTS))
    with patch.object(bloch_sums, "_MOST_NUMBERS", 1):
        assert np.array(crystal.matrices(KPOINTS)) == pytest.approx(together, abs=1e-14)


def test_gradients_are_differences_of_the_matrices():
    crystal = TightBindingCrystal.of(from_low_symmetry())
    step = 1e-5
    # A Cartesian step along y in fractional coordinates of the reciprocal lattice.
    along = crystal.cell.lattice @ [0, step, 0] / (2 * np.pi)
    differences = (np.array(crystal.matrices(KPOINTS + along)) - np.array(crystal.matrices(KPOINTS - along))) / (
        2 * step
    )
    assert np.array(crystal.gradients(KPOINTS))[:, 1] == pytest.approx(differences, abs=1e-6)


def test_single_precision_is_that_of_the_numbers():
    crystal = TightBindingCrystal.of(rock_salt())
    phases = torch.from_numpy(2 * np.pi * (KPOINTS @ crystal.offsets.T))
    single, double = (
        crystal.bloch_sums(dtype).complex_matrices(phases.cos(), phases.sin()).numpy()
        for dtype in (torch.float32, torch.float64)
    )
    assert single.dtype == np.complex64
    assert single == pytest.approx(double, abs=1e-5)
