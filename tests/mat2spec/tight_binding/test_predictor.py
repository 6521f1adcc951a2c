"""The contract that every model keeps, and what bad input becomes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.sevennet import site_scalars
from mat2spec.graphs.settings import GraphSettings
from mat2spec.models.checkpoints import WeightsCard, WeightsError, save_weights
from mat2spec.prediction import load_predictor, predict_with_models
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.normalisation import Setting
from mat2spec.tables.array_cache import ArrayCache
from mat2spec.tight_binding.model import TightBinding, TightBindingSettings
from mat2spec.tight_binding.predictor import TightBindingPredictor
from mat2spec.tight_binding.problem import PreparationSettings, prepare
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt, rock_salt_primitive


def make_model(*, spin=False):
    torch.manual_seed(0)
    sizes = TightBindingSettings(n_members=2, width=8, head_width=8, kpoints_per_atom=40, spin=spin)
    model = TightBinding(sizes, EDOS_GRID)
    for member in model.networks:
        for parameters in (*member.corrections.parameters(), *member.head.parameters()):
            torch.nn.init.normal_(parameters, std=0.02)
    model.log_integral_std.fill_(0.1)
    return model


@pytest.fixture(scope="module")
def predictor():
    return TightBindingPredictor(make_model())


def spectra_of(predictor, *structures):
    prediction = predictor.predict(Crystals.from_structures(structures))
    assert prediction.status == ["ok"] * len(structures), prediction.reason
    return prediction.spectra


def test_spectra_are_not_negative_and_scale_is_their_integral(predictor):
    prediction = predictor.predict(Crystals.from_structures([rock_salt_primitive(), perovskite(), low_symmetry()]))
    assert prediction.spectra.min() >= 0
    assert prediction.scale == pytest.approx(EDOS_GRID.integrate(prediction.spectra), rel=1e-5)


def test_order_of_atoms_and_place_of_the_origin_change_nothing(predictor):
    structure = low_symmetry()
    moved = Structure(
        structure.lattice,
        [structure[i].specie for i in (2, 0, 3, 1)],
        structure.frac_coords[[2, 0, 3, 1]] + [0.2, -0.4, 1.7],
    )
    straight, other = spectra_of(predictor, structure, moved)
    assert other == pytest.approx(straight, rel=1e-3, abs=1e-3)


def test_rotation_changes_nothing(predictor):
    structure = low_symmetry()
    turned = structure.lattice.matrix @ Rotation.random(random_state=4).as_matrix().T
    straight, other = spectra_of(predictor, structure, Structure(turned, structure.species, structure.frac_coords))
    assert other == pytest.approx(straight, rel=1e-3, abs=1e-3)


def test_a_larger_cell_holds_so_many_times_the_states(predictor):
    primitive, conventional = spectra_of(predictor, rock_salt_primitive(), rock_salt())
    assert conventional == pytest.approx(4 * primitive, rel=1e-3, abs=1e-3)


def test_companions_change_nothing_and_two_runs_agree(predictor):
    alone = spectra_of(predictor, perovskite())[0]
    together = spectra_of(predictor, low_symmetry(), perovskite(), rock_salt())[1]
    assert together == pytest.approx(alone, rel=1e-4, abs=1e-4)
    assert np.array_equal(spectra_of(predictor, perovskite())[0], alone)


def test_an_insulator_has_no_states_in_its_gap(predictor):
    spectrum = spectra_of(predictor, rock_salt_primitive())[0]
    assert spectrum[(EDOS_GRID.centers > 0.1) & (EDOS_GRID.centers < 1)].max() == 0


def test_bad_crystals_get_a_reason_and_the_others_a_spectrum(predictor):
    box = Structure(Lattice.cubic(15), ["O"], [[0, 0, 0]])
    overlapping = Structure(Lattice.cubic(4), ["O", "O"], [[0, 0, 0], [0.01, 0, 0]])
    unknown = Structure(Lattice.cubic(4), ["Np"], [[0, 0, 0]])
    noble = Structure(Lattice.cubic(6), ["Rn"], [[0, 0, 0]])
    prediction = predictor.predict(Crystals.from_structures([box, overlapping, unknown, rock_salt_primitive(), noble]))
    assert prediction.status == ["failed", "failed", "failed", "ok", "failed"]
    assert "isolated atoms" in prediction.reason[0]
    assert "closer than 0.5 Angstrom" in prediction.reason[1]
    assert "atomic number 93" in prediction.reason[2]
    assert "atomic number 86" in prediction.reason[4]
    assert np.isnan(prediction.spectra[0]).all()


def test_one_atom_in_a_box_of_moderate_size_is_solved(predictor):
    assert np.isfinite(spectra_of(predictor, Structure(Lattice.cubic(11), ["Fe"], [[0, 0, 0]]))).all()


def test_indefinite_overlap_matrices_are_noted(predictor):
    crushed = Structure(Lattice.cubic(1.6), ["Cs"] * 2, [[0, 0, 0], [0.5, 0.5, 0.5]])
    prediction = predictor.predict(Crystals.from_structures([crushed]))
    assert prediction.status == ["ok"]
    assert np.isfinite(prediction.spectra).all()


def test_a_large_cell_is_handed_on_and_the_row_says_so(monkeypatch):
    model = make_model()
    other = TightBindingPredictor(model)
    few = TightBindingPredictor(model, fallback=lambda: other, fallback_name="another", max_atoms=2)
    crystals = Crystals.from_structures([rock_salt_primitive(), perovskite()])
    prediction = few.predict(crystals)
    assert prediction.reason[0] == ""
    assert prediction.reason[1].startswith("Predicted by another: 5 atoms in the primitive cell")
    whole = other.predict(crystals)
    assert prediction.spectra == pytest.approx(whole.spectra, rel=1e-4, abs=1e-5)
    assert prediction.speakers == ["tight-binding", "tight-binding"], "of another model of this name"
    monkeypatch.setattr(other, "predict", lambda *_: pytest.fail("predicted again"))
    assert np.array_equal(few.predict(crystals, others=[whole]).spectra[1], whole.spectra[1])


def test_without_another_model_a_large_cell_gets_a_reason():
    prediction = TightBindingPredictor(make_model(), max_atoms=2).predict(Crystals.from_structures([perovskite()]))
    assert prediction.status == ["failed"]
    assert "use another model" in prediction.reason[0]


def save(model, folder):
    card = WeightsCard(
        model="tight-binding",
        setting=Setting.SUMNORM_KL,
        model_settings=model.settings.model_dump(mode="json"),
        graph_settings=GraphSettings(),
        grid=EDOS_GRID.to_json(),
    )
    save_weights(folder / "tight-binding-edos-sumnorm-kl.safetensors", model, card)


def test_weights_are_loaded_by_the_name_of_the_model(tmp_path):
    model = make_model()
    save(model, tmp_path)
    loaded = load_predictor("tight-binding", weights_dir=tmp_path, device="cpu")
    crystals = Crystals.from_structures([perovskite()])
    (prediction,) = predict_with_models([loaded], crystals)
    assert np.array_equal(prediction.spectra, TightBindingPredictor(model).predict(crystals).spectra)
    assert prediction.model == "tight-binding"
    with pytest.raises(WeightsError, match="electronic"):
        load_predictor("tight-binding", "phdos", tmp_path)


def test_weights_for_other_tables_are_refused(tmp_path):
    torch.manual_seed(0)
    settings = TightBindingSettings(n_members=1, width=4, head_width=4, tables="0123456789abcdef")
    save(TightBinding(settings, EDOS_GRID), tmp_path)
    with pytest.raises(WeightsError, match="Slater-Koster tables"):
        load_predictor("tight-binding", weights_dir=tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_spectra(predictor):
    crystals = Crystals.from_structures([rock_salt_primitive(), perovskite(), low_symmetry()])
    on_gpu = TightBindingPredictor(make_model(), torch.device("cuda")).predict(crystals)
    assert on_gpu.spectra == pytest.approx(predictor.predict(crystals).spectra, rel=1e-2, abs=1e-2)


def test_spin_is_solved_where_it_is_asked_for_and_a_crystal_can_be_magnetic():
    model = make_model(spin=True)
    crystals = Crystals.from_structures([nickel_oxide(), rock_salt_primitive()])
    without, with_spin = (TightBindingPredictor(model, spin=spin).predict(crystals) for spin in (False, True))
    assert (without.model, with_spin.model) == ("tight-binding", "tight-binding-mp")
    assert with_spin.status == ["ok", "ok"]
    # Untrained, the splitting of 1.5 eV is all that nickel has.
    assert np.abs(with_spin.spectra[0] - without.spectra[0]).max() > 0.1
    assert np.array_equal(with_spin.spectra[1], without.spectra[1])


def nickel_oxide():
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_cached_descriptors_change_no_prediction(predictor, tmp_path, monkeypatch):
    crystals = Crystals.from_structures([rock_salt(), low_symmetry()])
    plain = predictor.predict(crystals).spectra
    cached = TightBindingPredictor(make_model())
    cached.descriptor_cache = ArrayCache(tmp_path, 2**30)
    np.testing.assert_allclose(cached.predict(crystals).spectra, plain, rtol=1e-5, atol=1e-5)
    monkeypatch.setattr("mat2spec.descriptors.sevennet.site_scalars", lambda *_: pytest.fail("described again"))
    np.testing.assert_allclose(cached.predict(crystals).spectra, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "structure", [rock_salt_primitive(), perovskite(), low_symmetry(), perovskite(elements=("Ba", "Ti", "O"))]
)
def test_real_matrices_in_single_precision_give_the_spectra_of_complex_ones_in_double(structure):
    model = make_model().eval()
    cell = PrimitiveCell.of(structure.lattice.matrix, structure.frac_coords, np.array(structure.atomic_numbers))
    (descriptors,) = (torch.from_numpy(values) for values in site_scalars([cell], model.settings.descriptors))
    plain = PreparationSettings(model.settings.kpoints_per_atom)
    with torch.no_grad():
        exact, fast = (
            model(prepare(cell, settings), descriptors).spectra.numpy()
            for settings in (plain, replace(plain, dtype=torch.complex64, equal_orbits=True))
        )
    assert np.abs(fast - exact).max() < 1e-5 * exact.max()
