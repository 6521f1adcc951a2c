import json
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock

from mat2spec.benchmark import cells as cells_module
from mat2spec.benchmark.cells import BusyCellError, make_cells, read_results, run_cell
from mat2spec.benchmark.data import BenchmarkError, read_spectra, without_polymorphs
from mat2spec.benchmark.ensembles import ensemble_of_cells, evaluate_predictor, evaluate_weights, judge_baselines
from mat2spec.benchmark.recipes import RECIPES, Recipe, find_recipes
from mat2spec.graphs.settings import GraphSettings
from mat2spec.models.checkpoints import WeightsCard
from mat2spec.settings import SHIPPED_WEIGHTS_DIR
from mat2spec.spectra.grids import PHDOS_GRID
from mat2spec.spectra.normalisation import Setting
from tests.mat2spec.conftest import SMALL_SIZES

KL = [Setting.SUMNORM_KL]
QUICK = {"epochs": 2, "batch_size": 8, "accelerator": "cpu"}


def small(*models):
    return {name: Recipe(model=name, training={"model_settings": SMALL_SIZES[name]}) for name in models}


@pytest.fixture
def trained(data, tmp_path):
    """Two seeds of GATGNN."""
    folder = tmp_path / "cells"
    for cell in make_cells(small("gatgnn"), KL, [0, 1], QUICK):
        run_cell(cell, data, folder)
    return folder


def test_reserved_formulas_are_not_trained_on(data):
    loaded = data.load(GraphSettings())
    assert "mp-0" not in loaded.material_ids
    assert [int((loaded.split == split).sum()) for split in ("train", "valid", "test")] == [19, 5, 7]


def test_polymorphs_of_training_materials_are_known(data):
    loaded = data.load(GraphSettings())
    assert without_polymorphs(loaded, "test").tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("model", ["e3nn", "mat2spec"])
def test_a_result_says_what_it_is_of_whatever_graphs_its_model_needs(data, tmp_path, model):
    (cell,) = make_cells(small(model), KL, [3], QUICK)
    result = run_cell(cell, data, tmp_path)
    assert result["seed"] == 3
    assert result["training"]["materials"] == {"train": 19, "valid": 5, "test": 7}
    assert [result["metrics"][part]["n"] for part in ("valid", "test", "test_without_polymorphs")] == [5, 7, 6]
    assert np.isfinite(result["metrics"]["test"]["r2_blind"])
    assert read_spectra(tmp_path / cell.name / "spectra.safetensors")["test"][0].shape == (7, 51)


def test_a_finished_cell_is_never_trained_again(data, trained, monkeypatch):
    monkeypatch.setattr(cells_module, "run_training", lambda *_: pytest.fail("trained again"))
    first, second = make_cells(small("gatgnn"), KL, [0, 1], QUICK)
    assert run_cell(first, data, trained)["seed"] == 0
    assert run_cell(second, data, trained)["seed"] == 1


def test_another_accelerator_makes_no_other_cell_but_other_epochs_do(data, trained):
    (same,) = make_cells(small("gatgnn"), KL, [0], QUICK | {"accelerator": "auto"})
    run_cell(same, data, trained)
    (longer,) = make_cells(small("gatgnn"), KL, [0], QUICK | {"epochs": 3})
    with pytest.raises(BenchmarkError, match=r"other settings \(epochs\); give another folder"):
        run_cell(longer, data, trained)


def test_a_cell_that_another_process_works_on_is_left_to_it(data, tmp_path):
    (cell,) = make_cells(small("gatgnn"), KL, [0], QUICK)
    (tmp_path / cell.name).mkdir()
    with (
        FileLock(tmp_path / cell.name / ".lock"),
        pytest.raises(BusyCellError, match="Another process is training gatgnn"),
    ):
        run_cell(cell, data, tmp_path)


def test_an_interrupted_cell_resumes(data, tmp_path):
    class KilledError(Exception):
        pass

    def kill(_):
        raise KilledError

    (cell,) = make_cells(small("gatgnn"), KL, [0], QUICK)
    with pytest.raises(KilledError):
        run_cell(cell, data, tmp_path, kill)
    epochs = []
    result = run_cell(cell, data, tmp_path, lambda line: epochs.append(line["epoch"]))
    assert epochs == [2]
    whole = run_cell(cell, data, tmp_path / "whole")
    assert result["metrics"] == whole["metrics"]


def test_seeds_differ_and_their_ensemble_carries_an_uncertainty(data, trained):
    results = read_results(trained)
    assert results[0]["metrics"]["test"] != results[1]["metrics"]["test"]
    ensemble, spectra, _ = ensemble_of_cells(results, data)
    assert ensemble["n_members"] == 2
    assert PHDOS_GRID.integrate(spectra["test"][0]) == pytest.approx(np.full(7, 3.0), rel=1e-6)
    assert ensemble["metrics"]["valid"]["coverage_90"] == pytest.approx(0.9, abs=0.01)
    assert ensemble["metrics"]["test"]["error_rank_correlation"] is not None


def test_saved_weights_are_judged_like_the_cell_that_made_them(data, trained):
    (place, _) = sorted(path.parent for path in trained.glob("*/result.json"))
    (weights,) = place.glob("gatgnn*.safetensors")
    result, *_ = evaluate_weights("ours", [weights], data)
    expected = json.loads((place / "result.json").read_text())["metrics"]["test"]
    assert result["metrics"]["test"] == pytest.approx(expected, rel=1e-5)
    both, *_ = evaluate_weights("ours", [weights, weights], data)
    assert both["n_members"] == 2
    assert both["metrics"]["test"]["r2_blind"] == pytest.approx(expected["r2_blind"], rel=1e-5)


def test_results_of_other_materials_are_refused(data, trained):
    results = read_results(trained)
    with pytest.raises(BenchmarkError, match="evaluated on different materials"):
        ensemble_of_cells([results[0], {**results[1], "material_ids": {"valid": [], "test": []}}], data)
    foreign = {"valid": ["mp-x"], "test": []}
    with pytest.raises(BenchmarkError, match="other held-out materials"):
        data.judged(foreign)


def test_ablations_are_recipes_that_set_a_weight_to_zero():
    (cell,) = make_cells(
        find_recipes(["mat2spec-no-alignment"], "phdos"), KL, [0], {"model_settings": {"dropout": 0.1}}
    )
    assert cell.training.model_settings == {"alignment_weight": 0.0, "dropout": 0.1}
    assert RECIPES["phdos"]["mat2spec-no-contrastive"].training == {"model_settings": {"contrastive_weight": 0.0}}


def test_equivariant_models_get_graphs_of_all_atoms():
    cells = make_cells(find_recipes(["e3nn", "gatgnn"], "phdos"), KL, [0])
    assert [cell.training.graph.merge_sites for cell in cells] == [False, True]


def test_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"Unknown recipe or model 'megnet'; choose from .*mat2spec-no-alignment"):
        find_recipes(["megnet"], "edos")


def test_a_predictor_of_crystals_is_judged_as_users_have_it(data):
    labelled = data.load(GraphSettings())
    true = dict(zip(labelled.material_ids, labelled.spectra * labelled.n_atoms[:, None], strict=True))

    class Perfect:
        def predict(self, crystals):
            spectra = np.stack([true[name] for name in crystals.material_ids])
            return SimpleNamespace(spectra=spectra, uncertainty=0.1 * spectra + 1e-3)

    card = WeightsCard(
        model="perfect",
        setting=Setting.SUMNORM_KL,
        model_settings={},
        graph_settings=GraphSettings(),
        grid=PHDOS_GRID.to_json(),
        training={"materials": {"train": 19}, "epochs": 1, "seconds": 2},
        metrics={},
    )
    result, spectra, _ = evaluate_predictor("ours", Perfect(), card, data)
    assert result["metrics"]["test"]["r2_modes"] == pytest.approx(1)
    assert result["metrics"]["test"]["coverage_90"] == 1
    low, high = result["intervals"]["test"]["r2_modes"]
    assert low == pytest.approx(1)
    assert high == pytest.approx(1)
    assert [len(values) for values, _ in spectra.values()] == [5, 7]


def test_weights_of_a_predictor_are_found_by_their_name_only(data, tmp_path):
    shipped = SHIPPED_WEIGHTS_DIR / "tight-binding-edos-sumnorm-kl.safetensors"
    (tmp_path / "mine.safetensors").write_bytes(shipped.read_bytes())
    with pytest.raises(BenchmarkError, match=r"rename the file to tight-binding-edos-sumnorm-kl\.safetensors"):
        evaluate_weights("mine", [tmp_path / "mine.safetensors"], data)


def test_baselines_are_judged_on_the_materials_of_the_models(data):
    results = judge_baselines(data)
    assert {result["setting"] for result in results} == {"composition only"}
    assert [result["n_train"] for result in results] == [19, 19, 19]
    mean = results[0]["metrics"]["test"]
    assert mean["n"] == 7
    assert mean["r2_modes"] < 0.5
    assert results == judge_baselines(data)
