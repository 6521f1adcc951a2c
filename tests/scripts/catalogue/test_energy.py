"""The orbit graph gives CHGNet's own numbers."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mat2spec.descriptors.chgnet import load_chgnet
from scripts.catalogue.candidates import covalent_radii, template_prototype
from scripts.catalogue.energy import PrototypeEnergy
from scripts.catalogue.relaxation import GPA_PER_EV_PER_A3, relax
from scripts.catalogue.settings import CatalogueSettings
from scripts.catalogue.symmetry import orbit_table
from scripts.catalogue.templates import TEMPLATES

CRYSTALS = {
    "AB_cF8_225_a_b": (11, 17),
    "AB3C_cP5_221_a_c_b": (38, 23, 8),
    "A2B_tP6_136_f_a": (22, 8),
    "AB2_hP6_194_c_f": (42, 16),
    "ABCD_tP8_129_c_b_a_c": (57, 28, 8, 15),
}


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("chgnet")
    return load_chgnet("0.3.0")


def cell_of(label):
    return template_prototype(next(t for t in TEMPLATES if t.prototype == label)).cell


@pytest.mark.parametrize(("label", "numbers"), CRYSTALS.items())
def test_energy_and_gradient_equal_chgnets(model, label, numbers):
    cell = cell_of(label)
    rng = np.random.default_rng(7)
    amplitudes = rng.normal(scale=0.05, size=(1, len(cell.displacement_basis)))
    strain = np.tensordot(rng.normal(scale=0.02, size=len(cell.strain_basis)), cell.strain_basis, axes=1)
    lattices = (cell.lattice @ (np.eye(3) + strain))[None]
    potential = PrototypeEnergy(model, cell, orbit_table(cell, 7.0, 4.0), covalent_radii())
    ours = potential.evaluate(np.array([numbers]), lattices, amplitudes)
    frac = cell.frac_coords + np.tensordot(amplitudes[0], cell.displacement_basis, axes=1)
    structure = Structure(Lattice(lattices[0]), [numbers[slot] for slot in cell.slots], frac)
    theirs = model.predict_structure(structure, task="efs")
    virial = np.asarray(theirs["s"]) * structure.volume / GPA_PER_EV_PER_A3
    strain_gradient = np.einsum("kab,ab->k", cell.strain_basis, virial)
    displacement_gradient = -np.einsum("kna,na->k", cell.displacement_basis @ lattices[0], theirs["f"])
    assert ours.energy[0] / len(structure) == pytest.approx(float(theirs["e"]), abs=1e-5)
    np.testing.assert_allclose(ours.strain_gradient[0], strain_gradient, atol=2e-3)
    np.testing.assert_allclose(ours.displacement_gradient[0], displacement_gradient, atol=1e-3)


def test_relaxed_crystals_have_no_stress_and_known_lattice_constants(model):
    cell = cell_of("AB_cF8_225_a_b")
    settings = CatalogueSettings()
    elements = np.array([[11, 17], [12, 8]])
    relaxed = relax(model, cell, elements, np.array([0.9, 0.75]), settings.scan_scales, settings)
    constants = (4 * np.abs(np.linalg.det(relaxed.lattices))) ** (1 / 3)
    assert relaxed.converged.all()
    assert constants == pytest.approx([5.69, 4.25], abs=0.04)
    structure = Structure(Lattice(relaxed.lattices[0]), elements[0], relaxed.frac_coords[0])
    assert np.abs(model.predict_structure(structure, task="efs")["s"]).max() < 1.2 * settings.stress_tolerance_gpa


def test_companions_in_a_batch_do_not_change_a_crystal(model):
    cell = cell_of("A2B_tP6_136_f_a")
    settings = CatalogueSettings(max_steps=8)
    pair = relax(model, cell, np.array([[22, 8], [50, 8]]), np.array([1.3, 1.3]), (0.85, 0.95), settings)
    alone = relax(model, cell, np.array([[22, 8]]), np.array([1.3]), (0.85, 0.95), settings)
    np.testing.assert_allclose(pair.lattices[0], alone.lattices[0], atol=1e-3)
    assert pair.energy[0] == pytest.approx(alone.energy[0], abs=1e-4)
