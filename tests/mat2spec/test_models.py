"""The contract that every registered model passes."""

import numpy as np
import pytest
import torch
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from scipy.spatial.transform import Rotation

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs import GraphSettings, build_graphs
from mat2spec.models import MODELS, build_model
from mat2spec.models.mat2spec import Mixture, contrastive_loss, symmetric_divergence
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.normalisation import Setting
from mat2spec.tensors import GraphTensors
from mat2spec.weights import WeightsCard, load_weights, save_weights
from tests.mat2spec.conftest import SMALL_SIZES, low_symmetry, perovskite, rock_salt

CELLS = {"rock salt": rock_salt(), "perovskite": perovskite(), "low symmetry": low_symmetry()}
DEFAULT = GraphSettings()
UNMERGED = GraphSettings(merge_sites=False)
every_model = pytest.mark.parametrize("name", MODELS)
every_cell = pytest.mark.parametrize("structure", CELLS.values(), ids=CELLS)


def tensors(structures, graph_settings=DEFAULT):
    graphs, problems = build_graphs(Crystals.from_structures(structures), graph_settings)
    assert not any(problems)
    return GraphTensors.from_batch(graphs)


def make(name, setting=Setting.SUMNORM_KL, size=128):
    torch.manual_seed(1)
    model = build_model(name, SMALL_SIZES[name], size, setting).eval()
    # An untrained model answers almost the same to all; larger weights make the comparison sharp. Those of
    # e3nn are multiplied with one another more often: with twice the weights a softmax has a single bin.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5 if name == "e3nn" else 2.0)
    return model


@torch.no_grad()
def predict(model, *structures):
    return model(tensors(structures, model.adapt_graphs(DEFAULT))).numpy()


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
        plain = model(tensors([structure], model.adapt_graphs(UNMERGED))).numpy()
    np.testing.assert_allclose(predict(model, structure), plain, atol=1e-5)


@every_model
def test_saved_and_loaded_model_predicts_the_same(name, tmp_path):
    model = make(name)
    card = WeightsCard(
        model=name,
        setting=model.setting,
        model_settings=model.settings.model_dump(mode="json"),
        graph_settings=model.adapt_graphs(DEFAULT),
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
    graph = tensors(CELLS.values(), model.adapt_graphs(DEFAULT))
    terms = model.losses(graph, target / target.sum(dim=1, keepdim=True))
    torch.stack(list(terms.values())).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_ablations_switch_their_losses_off():
    sizes = SMALL_SIZES["mat2spec"] | {"alignment_weight": 0.0, "contrastive_weight": 0.0}
    model = build_model("mat2spec", sizes, 128, Setting.SUMNORM_KL)
    target = torch.full((3, 128), 1 / 128)
    terms = model.losses(tensors(CELLS.values()), target)
    assert terms["alignment"].item() == terms["contrastive"].item() == 0
    assert terms["prediction"].item() > 0


def test_e3nn_depends_on_angles_where_no_distance_tells_crystals_apart():
    # Oxygen about one atom: the same six lengths, opposite pairs or not.
    lattice = np.eye(3) * 12.0
    straight = Structure(lattice, ["Fe", "O", "O"], [[0.5] * 3, [0.65, 0.5, 0.5], [0.35, 0.5, 0.5]])
    bent = Structure(lattice, ["Fe", "O", "O"], [[0.5] * 3, [0.65, 0.5, 0.5], [0.5, 0.65, 0.5]])
    near = GraphSettings(merge_sites=False, cutoff_a=2.0)
    model = make("e3nn")
    with torch.no_grad():
        spectra = [model(tensors([structure], near)).numpy() for structure in (straight, bent)]
    assert np.abs(spectra[0] - spectra[1]).max() > 1e-5


def test_e3nn_of_two_layers_with_harmonics_of_order_two_does_not_turn_with_the_crystal():
    sizes = SMALL_SIZES["e3nn"] | {"n_layers": 2, "max_order": 2}
    torch.manual_seed(0)
    model = build_model("e3nn", sizes, 51, Setting.SUMNORM_KL).eval()
    crystal, *turned = low_symmetry(), transformed(low_symmetry())["rotation"], transformed(low_symmetry())["supercell"]
    for same in turned:
        np.testing.assert_allclose(predict(model, same), predict(model, crystal), atol=1e-6)


def test_e3nn_refuses_graphs_of_merged_sites():
    with pytest.raises(ValueError, match="needs edge vectors: make its graphs with merge_sites=false"):
        make("e3nn")(tensors(CELLS.values()))


def test_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no model 'megnet'; known are .*gatgnn, .*mat2spec"):
        build_model("megnet", None, 128, Setting.SUMNORM_KL)


def test_divergence_by_matrix_products_is_the_plain_sum_over_all_pairs():
    generator = torch.Generator().manual_seed(0)
    n, k, k_shared, d = 3, 4, 6, 5

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.1

    first = Mixture(torch.softmax(rand(n, k), 1), rand(n, k, d), rand(n, k, d))
    second = Mixture(torch.softmax(rand(n, k_shared), 1), rand(k_shared, d), rand(k_shared, d))
    expected = 0.0
    for crystal in range(n):
        for i in range(k):
            for j in range(k_shared):
                one = torch.distributions.Normal(first.means[crystal, i], first.variances[crystal, i].sqrt())
                two = torch.distributions.Normal(second.means[j], second.variances[j].sqrt())
                both = torch.distributions.kl_divergence(one, two) + torch.distributions.kl_divergence(two, one)
                expected += first.weights[crystal, i] * second.weights[crystal, j] * both.mean() / n
    assert symmetric_divergence(first, second).item() == pytest.approx(expected.item(), rel=1e-9)


def test_contrastive_loss_is_zero_for_a_single_crystal_and_least_for_matching_sides():
    assert contrastive_loss(torch.rand(1, 4), torch.rand(1, 4), 1.0).item() == 0
    sides = torch.eye(4)
    assert contrastive_loss(sides, sides, 1.0) < contrastive_loss(sides, sides.roll(1, 0), 1.0)
