from dataclasses import replace

import numpy as np
import pytest
import torch

from mat2spec.tight_binding.bloch import TightBindingCrystal
from mat2spec.tight_binding.kmesh import make_mesh
from mat2spec.tight_binding.problem import LinearBands, PreparationSettings, prepare
from mat2spec.tight_binding.real_basis import RealBasis, images_by_inversion
from tests.mat2spec.tight_binding.conftest import rock_salt, solid, zinc_blende

PLAIN = PreparationSettings(kpoints_per_atom=60)


def diamond():
    """Atoms that inversion exchanges."""
    return solid("Fd-3m", 3.57, ["C"], [[0, 0, 0]])


def fluorite():
    """One atom that is its own image, and two that are not."""
    return solid("Fm-3m", 5.46, ["Ca", "F"], [[0, 0, 0], [0.25, 0.25, 0.25]])


def moved(cell, shift):
    """With another origin."""
    return replace(cell, frac_coords=cell.frac_coords + shift)


@pytest.mark.parametrize("cell", [diamond(), rock_salt(), fluorite(), moved(fluorite(), [0.1, 0.27, -0.4])])
def test_bands_and_populations_of_a_real_basis_are_those_of_the_plain_one(cell):
    plain, real = prepare(cell, PLAIN), prepare(cell, replace(PLAIN, equal_orbits=True))
    assert plain.overlap.is_complex()
    assert not real.overlap.is_complex()
    torch.manual_seed(0)
    of_orbits = torch.randn(cell.n_atoms, 6, dtype=torch.float64)[torch.from_numpy(cell.equivalent_atoms)]
    shifts, scales = of_orbits[:, :3].reshape(1, -1), 0.1 * of_orbits[:, 3:].reshape(-1)
    there, here = (LinearBands.solve(problem, shifts, scales) for problem in (plain, real))
    assert here.energies.numpy() == pytest.approx(there.energies.numpy(), abs=1e-8)
    # Functions of the populations that do not depend on how degenerate bands are mixed.
    weights = torch.exp(-((there.energies / 8) ** 2)) * plain.weights[:, None]
    for name in ("by_shifts", "by_scales"):
        of_atoms = [torch.einsum("kb,kbg->g", weights, getattr(bands, name)) for bands in (there, here)]
        by_orbit = [values.reshape(-1, 3).numpy() for values in of_atoms]
        for orbit in np.unique(cell.equivalent_atoms):
            rows = cell.equivalent_atoms == orbit
            assert by_orbit[1][rows].sum(axis=0) == pytest.approx(by_orbit[0][rows].sum(axis=0), abs=1e-7)


def test_matrices_are_real_at_half_reciprocal_lattice_vectors_whatever_the_corrections():
    crystal = TightBindingCrystal.of(zinc_blende())
    halves = np.array([[0, 0, 0], [0.5, 0, 0], [0.5, -0.5, 0]])
    overlap, hopping = RealBasis(crystal, equal_orbits=False, dtype=torch.float64).matrices(halves)
    assert not overlap.is_complex()
    for real, plain in zip((overlap, hopping), crystal.matrices(halves), strict=True):
        assert real.numpy() == pytest.approx(plain, abs=1e-12)


def test_a_crystal_without_inversion_keeps_its_matrices():
    cell = zinc_blende()
    assert images_by_inversion(cell) is None
    mesh = make_mesh(cell, 60)
    basis = RealBasis(TightBindingCrystal.of(cell), equal_orbits=True, dtype=torch.float64)
    assert basis.matrices(mesh.kpoints)[0].is_complex()


def test_images_are_those_of_an_inversion():
    assert images_by_inversion(diamond()).tolist() == [1, 0]
    assert images_by_inversion(rock_salt()).tolist() == [0, 1]
