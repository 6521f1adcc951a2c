"""The site metal head: it knows textbook crystals, and its answer depends on the crystal alone."""

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.sevennet import site_scalars
from mat2spec.models.metal_head import shipped_metal_head
from mat2spec.prediction import load_predictor, predict_with_models
from mat2spec.tight_binding.metal_head import DESCRIPTORS, N_FURTHER, shipped_site_metal_head

ROCK_SALT = [[0, 0, 0], [0.5, 0.5, 0.5]]


@pytest.fixture(scope="module")
def crystals():
    """An insulator, the same one doubled and rotated, and a metal."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], ROCK_SALT)
    doubled = salt * (1, 1, 2)
    doubled.apply_operation(SymmOp.from_axis_angle_and_translation([1, 1, 0], 37.0))
    copper = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]])
    return Crystals.from_structures([salt, doubled, copper], ["salt", "doubled", "copper"])


def probabilities(crystals):
    cells = [PrimitiveCell.of_crystal(crystals, index) for index in range(len(crystals))]
    return shipped_site_metal_head().probability_of_metal(cells, site_scalars(cells, DESCRIPTORS))


def test_salt_is_an_insulator_and_copper_a_metal_in_every_cell(crystals):
    salt, doubled, copper = probabilities(crystals)
    assert salt < 0.2
    assert copper > 0.9
    assert doubled == pytest.approx(salt, abs=1e-4)


def test_an_answer_does_not_depend_on_the_others(crystals):
    together = probabilities(crystals)
    alone = [probabilities(crystals.take([index]))[0] for index in range(len(crystals))]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_members_together_answer_what_each_answers():
    head, sites = shipped_site_metal_head(), torch.tensor([0, 0, 0, 1, 1])
    torch.manual_seed(0)
    inputs, further = torch.randn(5, len(head.mean)), torch.randn(2, N_FURTHER)
    each = torch.stack([member(inputs, sites, further) for member in head.members])
    np.testing.assert_allclose(head._together(inputs, sites, further), each, atol=1e-5)


def test_it_was_tested_on_formulas_that_it_was_not_trained_on():
    card = shipped_site_metal_head().card
    assert card["n_test"] > 5000
    assert card["roc_auc"] >= 0.98
    assert card["insulators_above_1_ev_called_metal"] <= 0.05


def test_tight_binding_hears_the_sites_and_a_graph_model_the_composition(crystals):
    tight_binding, gatgnn = predict_with_models([load_predictor("tight-binding"), load_predictor("gatgnn")], crystals)
    np.testing.assert_allclose(tight_binding.prior_metal_probability, probabilities(crystals), atol=1e-4)
    by_composition = shipped_metal_head().probability_of_metal(crystals)
    np.testing.assert_allclose(gatgnn.prior_metal_probability, by_composition, atol=1e-6)
