from __future__ import annotations

import numpy as np
import pytest

from mat2spec.benchmark.trust import HeldOut, cross_fitted, fit_trust, trust_figures
from mat2spec.crystals.arrays import Crystals
from mat2spec.prediction import load_predictor, shipped_weights
from mat2spec.settings import SHIPPED_WEIGHTS_DIR
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID
from mat2spec.spectra.prediction import Prediction
from mat2spec.spectra.trust import CrystalFacts, Trust, judge, load_trust, trust_file, unseen_elements
from mat2spec.tight_binding.predictor import MODEL_NAMES as TIGHT_BINDING_MODELS

N = 200


def crystals_of(n, random):
    """Crystals of two atoms of six elements."""
    numbers = random.choice([3, 8, 13, 22, 38, 57], size=(n, 2))
    positions = [np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])] * n
    return Crystals.from_lists([f"c{i}" for i in range(n)], numbers.tolist(), positions, [np.eye(3) * 4.2] * n)


def predicted(n=N, seed=0, grid=EDOS_GRID):
    """A model that is as wrong as it says up to a constant factor: predictions, labels, facts."""
    random = np.random.default_rng(seed)
    crystals = crystals_of(n, random)
    spectra = random.uniform(1, 3, (n, grid.size))
    stated = np.exp(random.normal(-1.5, 0.5, n))
    noise = random.normal(size=spectra.shape) * 2 * stated[:, None] * spectra
    prediction = Prediction(
        material_ids=crystals.material_ids,
        spectra=spectra.astype(np.float32),
        scale=spectra.sum(axis=1).astype(np.float32),
        uncertainty=(stated[:, None] * spectra).astype(np.float32),
        relative_error=stated.astype(np.float32),
        domain_distance=np.full(n, 0.3, dtype=np.float32),
        status=["ok"] * n,
        reason=[""] * n,
        model="m",
        weights_hash="w",
        grid=grid,
    )
    counts = {"Li": 9, "O": 9, "Al": 9, "Ti": 9, "Sr": 9, "La": 9}
    labels = HeldOut(crystals, np.array([f"F{i}" for i in range(n)], dtype=object), np.abs(spectra + noise), counts)
    return prediction, labels, CrystalFacts(crystals, np.full(n, 0.1))


def test_errors_and_intervals_hold_for_labels_that_were_not_seen():
    prediction, labels, facts = predicted()
    figures = trust_figures(cross_fitted(prediction, labels, facts), labels)
    assert figures["rank correlation"] > 0.9
    assert figures["in 90 % interval"] == pytest.approx(0.9, abs=0.03)
    assert figures["flagged"] == pytest.approx(0.21, abs=0.06)
    assert figures["worst decile flagged"] > 0.9


def test_expected_errors_meet_the_true_ones_on_average():
    prediction, labels, facts = predicted()
    judged = judge(prediction, fit_trust(prediction, labels, facts), facts)
    errors = np.abs(prediction.spectra - labels.spectra).sum(axis=1) / prediction.spectra.sum(axis=1)
    assert judged.relative_error.mean() == pytest.approx(errors.mean(), rel=0.02)


def test_the_worst_reason_makes_the_verdict():
    prediction, labels, facts = predicted()
    calibration = fit_trust(prediction, labels, facts).model_copy(
        update={"label_counts": labels.label_counts | {"La": 0, "Sr": 1}, "error_limit": 10.0}
    )
    odd = np.where(np.arange(N) == 0, 3.0, 0.1)
    judged = judge(prediction, calibration, CrystalFacts(facts.crystals, odd))
    unseen = unseen_elements(facts.crystals, calibration.label_counts)
    numbers = facts.crystals.atomic_numbers.reshape(N, 2)
    for index in range(N):
        if 57 in numbers[index]:
            assert (judged.trust[index], judged.unseen_elements[index]) == (Trust.OUTSIDE, "La")
            assert unseen[index] == ["La"]
        elif index == 0:
            assert judged.trust[index] == Trust.OUTSIDE
        else:
            assert judged.trust[index] == (Trust.CAUTION if 38 in numbers[index] else Trust.OK)
        assert bool(judged.trust_reason[index]) == (judged.trust[index] != Trust.OK)


def test_hydrogen_makes_phonons_a_caution():
    prediction, labels, facts = predicted(2, grid=PHDOS_GRID)
    calibration = fit_trust(prediction, labels, facts).model_copy(
        update={"error_limit": 1e9, "label_counts": {"Li": 9, "H": 9, "O": 9}}
    )
    cells = [np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])] * 2
    hydride = Crystals.from_lists(["a", "b"], [[3, 1], [3, 8]], cells, [np.eye(3) * 4.1] * 2)
    judged = judge(prediction, calibration, CrystalFacts(hydride, np.full(2, 0.1)))
    assert judged.trust == [Trust.CAUTION, Trust.OK]
    assert "1,000 cm-1" in judged.trust_reason[0]


def test_what_is_less_plausible_than_nine_in_ten_is_a_caution():
    prediction, labels, facts = predicted()
    few = CrystalFacts(facts.crystals, np.where(np.arange(N) % 12 == 0, 0.7, 0.1))
    calibration = fit_trust(prediction, labels, few)
    assert calibration.implausibility_limit == 0.1
    judged = judge(prediction, calibration.model_copy(update={"error_limit": 1e9}), few)
    assert judged.trust[:13:12] == [Trust.CAUTION] * 2
    assert "implausibility 0.70" in judged.trust_reason[0]
    assert judged.trust[1] == Trust.OK


def test_a_failed_prediction_has_no_verdict_and_none_depends_on_the_others():
    prediction, labels, facts = predicted()
    calibration = fit_trust(prediction, labels, facts)
    prediction.status[3] = "failed"
    prediction.spectra[3] = np.nan
    judged = judge(prediction, calibration, facts)
    assert judged.trust[3] is None
    alone = judge(prediction.take(np.array([7])), calibration, facts.take([7]))
    assert alone.relative_error[0] == judged.relative_error[7]
    assert alone.trust[0] == judged.trust[7]


def test_without_calibration_errors_stay_and_there_is_no_verdict(tmp_path):
    prediction, _, facts = predicted(3)
    judged = judge(prediction, None, facts)
    assert judged.trust == []
    np.testing.assert_array_equal(judged.uncertainty, prediction.uncertainty)
    assert load_trust(tmp_path, "m", "edos", "w") is None


@pytest.mark.parametrize("spectrum", ["edos", "phdos"])
def test_all_weights_that_ship_have_a_calibration_of_their_own(spectrum):
    models = [*shipped_weights(spectrum), *(TIGHT_BINDING_MODELS if spectrum == "edos" else ())]
    for model in models:
        predictor = load_predictor(model, spectrum, device="cpu")
        assert predictor.trust is not None, f"calibrate {trust_file(SHIPPED_WEIGHTS_DIR, model, spectrum)} again"
        assert predictor.trust.n_labels > 100
