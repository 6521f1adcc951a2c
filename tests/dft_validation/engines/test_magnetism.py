"""Initial moments and Hubbard U are those of the Materials Project; both spins end up in the bins."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from dft_validation import DftSettings
from dft_validation.bands.mesh import MeshBands, edos_of_bands, edos_of_spins, find_band_edges
from dft_validation.engines.magnetism import SpinAndU, spin_and_u
from mat2spec.crystals.cell import cell_of
from mat2spec.spectra.grids import EDOS_GRID


def rocksalt(cation, anion):
    return cell_of(Structure(Lattice.cubic(4.2), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]]))


@pytest.mark.parametrize(
    ("cation", "anion", "moment", "u_values"),
    [("Ni", "O", 5.0, {"Ni": 6.2}), ("Fe", "F", 5.0, {"Fe": 5.3}), ("Fe", "S", 5.0, {}), ("Na", "Cl", 0.6, {})],
)
def test_moments_and_u_are_those_of_the_materials_project(cation, anion, moment, u_values):
    found = spin_and_u(rocksalt(cation, anion), DftSettings(spin="polarised", hubbard_u="mp"))
    assert found == SpinAndU([moment, 0.6], u_values)


def test_moments_of_a_doubled_cell_alternate_from_its_first_half_to_its_second():
    chain = cell_of(Structure(Lattice.cubic(4.2), ["Fe", "S", "Fe", "S"], [[0, 0, 0], [0.5] * 3, [0.2] * 3, [0.7] * 3]))
    found = spin_and_u(chain, DftSettings(spin="polarised", cell="doubled"))
    assert found.initial_moments == [5.0, 0.6, -5.0, -0.6]


def test_the_default_asks_for_neither():
    assert spin_and_u(rocksalt("Ni", "O"), DftSettings()) == SpinAndU()
    assert spin_and_u(rocksalt("Ni", "O"), DftSettings(hubbard_u="mp")) == SpinAndU([], {"Ni": 6.2})


def test_u_finds_its_element_when_atoms_of_one_element_are_apart():
    structure = Structure(Lattice.cubic(4.2), ["O", "V", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]])
    assert spin_and_u(cell_of(structure), DftSettings(hubbard_u="mp")).u_values_ev == {"V": 3.25}


def spin_split_bands(splitting_ev, efermi):
    """One cosine band per spin from -1 to 1 eV, the spin-down one moved up; an empty band far above."""
    mesh = (6, 6, 6)
    grid = np.meshgrid(*(np.arange(n) / n for n in mesh), indexing="ij")
    band = np.cos(2 * np.pi * np.array(grid)).mean(axis=0).ravel()
    energies = np.array([[band, band + 20], [band + splitting_ev, band + 20]]).transpose(0, 2, 1)
    return MeshBands(energies, np.arange(216), mesh, 4 * np.eye(3), efermi, 1.0)


def test_both_spins_are_summed_and_kept_apart():
    bands = spin_split_bands(2.5, efermi=0.0)
    spins = edos_of_spins(bands, 0.0, 1)
    assert spins.shape == (2, 128)
    np.testing.assert_allclose(EDOS_GRID.width * spins.sum(axis=1), [1.0, 1.0])
    np.testing.assert_allclose(spins.sum(axis=0), edos_of_bands(bands, 0.0, 1))
    assert EDOS_GRID.centers[spins[0] > 0].max() < 1.1
    assert EDOS_GRID.centers[spins[1] > 0].min() > 1.4


def test_one_channel_counts_for_both_spins():
    bands = spin_split_bands(0.0, efermi=0.0)
    alone = MeshBands(bands.energies_ev[:1], *(getattr(bands, name) for name in _REST))
    np.testing.assert_allclose(edos_of_bands(alone, 0.0, 1), edos_of_bands(bands, 0.0, 1))


_REST = ("irreducible_of_kpoint", "mesh", "lattice", "efermi", "n_electrons")


def test_a_magnetic_insulator_has_its_gap_between_the_channels():
    edges = find_band_edges(spin_split_bands(2.5, efermi=1.2), gap_tolerance_ev=0.05)
    assert (edges.vbm, edges.cbm) == (pytest.approx(1.0), pytest.approx(1.5))
    assert find_band_edges(spin_split_bands(0.5, efermi=0.9), gap_tolerance_ev=0.05).is_metal
