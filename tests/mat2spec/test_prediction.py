import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from pymatgen.phonon.dos import CompletePhononDos, PhononDos
from torch_geometric.data import Batch, Data

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.batch import split_by_edges
from mat2spec.graphs.settings import GraphSettings
from mat2spec.models import MODELS, build_model
from mat2spec.models.checkpoints import WeightsError
from mat2spec.prediction import (
    load_predictor,
    predict_structures,
    predict_with_models,
    resolve_device,
    shipped_weights,
)
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID
from mat2spec.spectra.normalisation import Setting
from mat2spec.spectra.uncertainty import ValidationSet
from mat2spec.spectrum_predictor import SpectrumPredictor
from tests.mat2spec.conftest import SMALL_SIZES, low_symmetry, perovskite, rock_salt


def _calibrate(model):
    random = torch.Generator().manual_seed(0)
    vectors = torch.rand(40, SMALL_SIZES["gatgnn"]["encoder"]["width"], generator=random)
    shapes = torch.softmax(torch.randn(40, model.size, generator=random), dim=1)
    known = ValidationSet(shapes, torch.zeros_like(shapes), vectors, shapes * 1.1)
    model.error_model.fit(vectors, known)


def small_predictor(grid=EDOS_GRID, **options):
    def model(setting):
        built = build_model("gatgnn", SMALL_SIZES["gatgnn"], grid.size, setting)
        built.target_mean.fill_(0.5)
        _calibrate(built)
        built.integral_residual_std.fill_(0.2)
        return built

    scale_model = model(Setting.STANDARD_MAE) if grid is EDOS_GRID else None
    return SpectrumPredictor("gatgnn", model(Setting.SUMNORM_KL), scale_model, GraphSettings(), grid, "cpu", **options)


def test_spectrum_is_shape_times_scale_and_carries_its_provenance(crystals):
    prediction = small_predictor().predict(crystals)
    assert prediction.material_ids.tolist() == ["NaCl", "SrVO3", "odd"]
    assert (prediction.spectra >= 0).all()
    np.testing.assert_allclose(EDOS_GRID.integrate(prediction.spectra), prediction.scale, rtol=1e-5)
    assert (prediction.uncertainty > 0).all()
    assert prediction.status == ["ok"] * 3
    assert len(prediction.weights_hash) == 16


def test_states_per_cell_grow_with_the_supercell():
    predictor = small_predictor()
    for structure in (rock_salt(), perovskite(), low_symmetry()):
        cell, supercell = predictor.predict(Crystals.from_structures([structure, structure * (1, 2, 2)])).spectra
        np.testing.assert_allclose(supercell, 4 * cell, rtol=1e-3, atol=1e-5)


def test_phonon_spectrum_holds_three_modes_per_atom(crystals):
    prediction = small_predictor(PHDOS_GRID).predict(crystals)
    np.testing.assert_allclose(PHDOS_GRID.integrate(prediction.spectra), 3 * crystals.n_sites, rtol=1e-5)


def test_small_batches_and_one_large_batch_agree_in_order(crystals):
    many = crystals.take([0, 1, 2, 1, 0, 2])
    torch.manual_seed(3)
    large = small_predictor(max_edges_per_batch=10**6).predict(many)
    torch.manual_seed(3)
    seen = []
    predictor = small_predictor(max_edges_per_batch=1)
    predictor.shape_model.batches_at_once = 1
    small = predictor.predict(many, seen.append)
    assert seen == [1] * 6
    np.testing.assert_allclose(small.spectra, large.spectra, rtol=1e-4, atol=1e-6)


def test_bad_crystal_is_a_row_with_its_reason():
    overlapping = Structure(np.eye(3) * 4, ["Na", "Cl"], [[0, 0, 0], [0.02, 0, 0]])
    crystals = Crystals.from_structures([rock_salt(), overlapping, perovskite()])
    counted = []
    prediction = small_predictor().predict(crystals, counted.append)
    assert prediction.status == ["ok", "failed", "ok"]
    assert "overlap" in prediction.reason[1]
    assert np.isnan(prediction.spectra[1]).all()
    assert np.isfinite(prediction.spectra[[0, 2]]).all()
    assert sum(counted) == 3


def test_data_of_pytorch_geometric_are_predicted_as_the_crystals_they_hold(structures, crystals):
    predictor = small_predictor()
    data = [
        Data(
            z=torch.tensor(structure.atomic_numbers),
            pos=torch.tensor(structure.cart_coords),
            cell=torch.tensor(structure.lattice.matrix),
            material_id=material_id,
        )
        for structure, material_id in zip(structures, crystals.material_ids, strict=True)
    ]
    expected = predictor.predict(crystals)
    for given in (data, Batch.from_data_list(data)):
        prediction = predictor.predict(given)
        assert prediction.material_ids.tolist() == crystals.material_ids.tolist()
        np.testing.assert_allclose(prediction.spectra, expected.spectra, rtol=1e-5)


def test_no_crystals_no_spectra(crystals):
    assert small_predictor().predict(crystals.take([])).spectra.shape == (0, 128)


def test_several_models_agree_with_each_alone(crystals):
    predictors = [small_predictor(), small_predictor()]
    together = predict_with_models(predictors, crystals)
    for predictor, prediction in zip(predictors, together, strict=True):
        np.testing.assert_array_equal(prediction.spectra, predictor.predict(crystals).spectra)


def test_out_of_memory_halves_the_batch(crystals, monkeypatch):
    predictor = small_predictor(max_edges_per_batch=10**6)
    expected = predictor.predict(crystals).spectra
    forward = predictor._forward

    def scarce(graph):
        if graph.num_graphs > 1:
            raise torch.cuda.OutOfMemoryError
        return forward(graph)

    monkeypatch.setattr(predictor, "_forward", scarce)
    np.testing.assert_allclose(predictor.predict(crystals).spectra, expected, rtol=1e-5, atol=1e-6)


def test_batches_are_bounded_by_edges():
    parts = list(split_by_edges(np.array([0, 2, 3, 4]), np.array([5, 9, 5, 30, 1]), 10))
    assert [part.tolist() for part in parts] == [[0, 2], [3], [4]]


@pytest.mark.parametrize("device", ["tpu!", "cuda"])
def test_unusable_device_is_a_sentence(device):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(ValueError, match="use auto"):
        resolve_device(device)


def test_unknown_spectrum_and_missing_weights(tmp_path):
    with pytest.raises(WeightsError, match="Unknown spectrum 'xas'; choose from edos, phdos"):
        load_predictor("mat2spec", "xas")
    with pytest.raises(WeightsError, match=r"There are no weights of a model 'mat2spec' .* none of any model"):
        load_predictor("mat2spec", "edos", tmp_path)
    with pytest.raises(WeightsError, match=r"model 'gatgn' for edos .*The models there are e3nn, gatgnn, mat2spec"):
        load_predictor("gatgn", "edos")


def test_every_model_ships_for_both_spectra():
    assert list(shipped_weights("edos")) == list(shipped_weights("phdos")) == list(MODELS)
    assert [len(files) for files in shipped_weights("edos").values()] == [2] * len(MODELS), "a shape and a scale"


@pytest.mark.parametrize("model", MODELS)
def test_shipped_models_hold_the_physics(model):
    """With the trained weights: non-negative, size-consistent, independent of description and companions."""
    structure = perovskite()
    turned = Structure(structure.lattice, structure.species[::-1], structure.frac_coords[::-1] + 0.37)
    prediction = predict_structures([structure, turned, structure * (2, 2, 1), low_symmetry()], model)
    spectra = prediction.spectra
    assert (spectra >= 0).all()
    assert prediction.scale[0] > 1
    tolerance = {"rtol": 2e-3, "atol": 2e-3}
    np.testing.assert_allclose(spectra[1], spectra[0], **tolerance)
    np.testing.assert_allclose(spectra[2], 4 * spectra[0], **tolerance)
    np.testing.assert_allclose(predict_structures([structure], model).spectra[0], spectra[0], **tolerance)


@pytest.mark.parametrize("model", MODELS)
def test_shipped_phonon_models_know_light_atoms_from_heavy_ones(model):
    light, heavy = rock_salt(4.21, "Mg", "O"), rock_salt(6.46, "Pb", "Te")
    spectra = predict_structures([light, heavy], model, "phdos").spectra
    mean_frequency = (spectra * PHDOS_GRID.centers).sum(axis=1) / spectra.sum(axis=1)
    # Measured means: about 400 cm-1 for MgO and 90 cm-1 for PbTe.
    assert mean_frequency[0] > 300
    assert mean_frequency[1] < 150
    np.testing.assert_allclose(PHDOS_GRID.integrate(spectra), 3 * 8, rtol=1e-4)


def test_a_mixed_list_is_predicted_with_failed_rows_and_gives_frames_and_pymatgen_spectra():
    structure = perovskite()
    prediction = predict_structures([structure, "nothing", structure], "mat2spec")
    assert prediction.status == ["ok", "failed", "ok"]
    assert repr(prediction) == "<Prediction of 3 crystals, 1 of them failed: edos by mat2spec>"
    frame = prediction.to_frame()
    assert len(frame) == 3
    assert "is not a crystal" in frame.reason[1]
    dos = prediction.dos(0)
    np.testing.assert_allclose(dos.get_densities(), prediction.spectra[0])
    assert dos.efermi == 0
    axes = prediction.plot(0)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), prediction.spectra[0])
    assert "states/eV" in axes.get_ylabel()
    for ask in (prediction.dos, prediction.plot):
        with pytest.raises(ValueError, match="no prediction for crystal-1: An object of type str"):
            ask(1)


def test_phonons_come_as_pymatgen_has_them():
    prediction = predict_structures(perovskite(), "gatgnn", "phdos")
    dos = prediction.dos(0)
    integral = dos.densities.sum() * (dos.frequencies[1] - dos.frequencies[0])
    assert integral == pytest.approx(3 * 5, rel=1e-3)


def test_phonons_are_shared_among_sites_only_where_symmetry_says_how():
    silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    prediction = predict_structures([silicon, perovskite()], "gatgnn", "phdos")
    dos = prediction.dos(0)
    assert isinstance(dos, CompletePhononDos)
    np.testing.assert_allclose(dos.get_site_dos(dos.structure[3]).densities, np.asarray(dos.densities) / 8)
    np.testing.assert_allclose(next(iter(dos.get_element_dos().values())).densities, dos.densities)
    assert type(prediction.dos(0, projected=False)) is type(prediction.dos(1)) is PhononDos


def test_the_most_accurate_model_is_the_default():
    assert predict_structures(perovskite()).model == "tight-binding"
