"""The contract that every registered model passes."""

import numpy as np
import pytest
import torch
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from scipy.spatial.transform import Rotation

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.building import build_graphs
from mat2spec.graphs.settings import GraphSettings
from mat2spec.models import MODELS, build_model
from mat2spec.models.checkpoints import WeightsCard, load_weights, save_weights
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.normalisation import Setting
from tests.mat2spec.conftest import SMALL_SIZES, low_symmetry, perovskite, rock_salt

CELLS = {"rock salt": rock_salt(), "perovskite": perovskite(), "low symmetry": low_symmetry()}
DEFAULT = GraphSettings()
UNMERGED = GraphSettings(merge_sites=False)
every_model = pytest.mark.parametrize("name", MODELS)
every_cell = pytest.mark.parametrize("structure", CELLS.values(), ids=CELLS)


def graphs_of(structures, graph_settings=DEFAULT):
    graphs, problems = build_graphs(Crystals.from_structures(structures), graph_settings)
    assert not any(problems)
    return graphs


def make(name, setting=Setting.SUMNORM_KL, size=128):
    torch.manual_seed(1)
    model = build_model(name, SMALL_SIZES[name], size, setting).eval()
    # An untrained model gives almost the same answer for all; larger weights make the comparison sharp. Those of
    # e3nn are multiplied with one another more often: with twice the weights a softmax has a single bin.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5 if name == "e3nn" else 2.0)
    return model


@torch.no_grad()
def predict(model, *structures):
    return model(graphs_of(structures, model.settings.adapt_graphs(DEFAULT))).numpy()


def transformed(structure):
    rotation = Rotation.from_euler("xyz", [31, 57, 11], degrees=True).as_matrix()
    rotated = Structure(structure.lattice.matrix @ rotation.T, structure.species, structure.frac_coords)
    shifted = structure.copy()
    shifted.translate_sites(range(len(shifted)), [0.137, 0.291, 0.713])
    order = np.random.default_rng(3).permutation(len(structure))
    skewed = Structure(
        np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ structure.lattice.matrix,
        structure.species,
        structure.cart_coords,
        coords_are_cartesian=True,
    )
    return {
        "rotation": rotated,
        "translation": shifted,
        "atom order": Structure.from_sites([structure[i] for i in order]),
        "choice of cell": skewed,
        "primitive cell": SpacegroupAnalyzer(structure).get_primitive_standard_structure(),
        "supercell": structure * (2, 1, 2),
    }


@every_model
@every_cell
def test_prediction_belongs_to_the_crystal_and_not_to_its_description(name, structure):
    model = make(name)
    expected = predict(model, structure)
    for what, same in transformed(structure).items():
        np.testing.assert_allclose(predict(model, same), expected, atol=1e-6, rtol=1e-3, err_msg=what)


@every_model
def test_models_tell_crystals_apart(name):
    spectra = predict(make(name), *CELLS.values())
    assert np.abs(spectra[0] - spectra[1]).max() > 1e-4
    assert np.abs(spectra[1] - spectra[2]).max() > 1e-4


@every_model
def test_companions_in_the_batch_change_nothing(name):
    model = make(name)
    together = predict(model, *CELLS.values())
    alone = np.concatenate([predict(model, structure) for structure in CELLS.values()])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@every_model
@every_cell
def test_merging_sites_is_exact(name, structure):
    model = make(name)
    with torch.no_grad():
        plain = model(graphs_of([structure], model.settings.adapt_graphs(UNMERGED))).numpy()
    np.testing.assert_allclose(predict(model, structure), plain, atol=1e-5)


@every_model
def test_saved_and_loaded_model_predicts_the_same(name, tmp_path):
    model = make(name)
    card = WeightsCard(
        model=name,
        setting=model.setting,
        model_settings=model.settings.model_dump(mode="json"),
        graph_settings=model.settings.adapt_graphs(DEFAULT),
        grid=EDOS_GRID.to_json(),
    )
    path = tmp_path / "model.safetensors"
    save_weights(path, model, card)
    loaded, read = load_weights(path)
    assert read == card
    np.testing.assert_array_equal(predict(loaded, *CELLS.values()), predict(model, *CELLS.values()))


@every_model
def test_prediction_is_deterministic(name):
    model = make(name)
    np.testing.assert_array_equal(predict(model, perovskite()), predict(model, perovskite()))


@every_model
@pytest.mark.parametrize("setting", Setting)
@pytest.mark.parametrize("size", [51, 128])
def test_every_setting_predicts_and_trains(name, setting, size):
    model = make(name, setting, size)
    output = predict(model, *CELLS.values())
    assert output.shape == (3, size)
    assert np.isfinite(output).all()
    if setting is not Setting.STANDARD_MAE:
        assert (output >= 0).all()
    model.train()
    target = torch.rand(3, size)
    graph = graphs_of(CELLS.values(), model.settings.adapt_graphs(DEFAULT))
    terms = model.losses(graph, target / target.sum(dim=1, keepdim=True))
    torch.stack(list(terms.values())).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"Unknown model 'megnet'; choose from .*gatgnn, .*mat2spec"):
        build_model("megnet", None, 128, Setting.SUMNORM_KL)


def test_a_model_that_reads_no_graphs_says_how_it_is_trained():
    with pytest.raises(ValueError, match=r"mat2spec train tight-binding"):
        build_model("tight-binding", None, 128, Setting.SUMNORM_KL)
