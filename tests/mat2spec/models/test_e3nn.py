"""What is particular to the equivariant baseline."""

import numpy as np
import pytest
import torch
from pymatgen.core import Structure
from scipy.spatial.transform import Rotation

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.building import build_graphs
from mat2spec.graphs.settings import GraphSettings
from mat2spec.models import build_model
from mat2spec.spectra.normalisation import Setting
from tests.mat2spec.conftest import SMALL_SIZES, low_symmetry, perovskite

ALL_ATOMS = GraphSettings(merge_sites=False)


@torch.no_grad()
def predict(model, structure, graph_settings=ALL_ATOMS):
    graphs, problems = build_graphs(Crystals.from_structures([structure]), graph_settings)
    assert problems == [None]
    return model(graphs).numpy()


def make(size=128, **sizes):
    torch.manual_seed(1)
    return build_model("e3nn", SMALL_SIZES["e3nn"] | sizes, size, Setting.SUMNORM_KL).eval()


def test_e3nn_depends_on_angles_where_no_distance_tells_crystals_apart():
    # Oxygen about one atom: the same six lengths, opposite pairs or not.
    lattice = np.eye(3) * 12.0
    straight = Structure(lattice, ["Fe", "O", "O"], [[0.5] * 3, [0.65, 0.5, 0.5], [0.35, 0.5, 0.5]])
    bent = Structure(lattice, ["Fe", "O", "O"], [[0.5] * 3, [0.65, 0.5, 0.5], [0.5, 0.65, 0.5]])
    near = GraphSettings(merge_sites=False, cutoff_a=2.0)
    model = make()
    with torch.no_grad():  # larger weights, a sharper answer
        for parameter in model.parameters():
            parameter.mul_(1.5)
    assert np.abs(predict(model, straight, near) - predict(model, bent, near)).max() > 1e-5


def test_e3nn_of_two_layers_with_harmonics_of_order_two_does_not_turn_with_the_crystal():
    model = make(51, n_layers=2, max_order=2)
    crystal = low_symmetry()
    rotation = Rotation.from_euler("xyz", [31, 57, 11], degrees=True).as_matrix()
    turned = Structure(crystal.lattice.matrix @ rotation.T, crystal.species, crystal.frac_coords)
    for same in (turned, crystal * (2, 1, 2)):
        np.testing.assert_allclose(predict(model, same), predict(model, crystal), atol=1e-6)


def test_e3nn_refuses_graphs_of_merged_sites():
    with pytest.raises(ValueError, match="needs edge vectors: make its graphs with merge_sites=false"):
        predict(make(), perovskite(), GraphSettings())
