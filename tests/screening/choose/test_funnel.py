"""Which materials the accurate model predicts."""

import numpy as np
import pytest

from mat2spec.crystals.primitive import CellSizes
from mat2spec.prediction import load_predictor
from mat2spec.settings import EDOS_MODELS, SHIPPED_WEIGHTS_DIR
from mat2spec.spectra.grids import EDOS_GRID
from screening.choose.funnel import FunnelChoice, choose, fast_scores, load_cut, reason_of_choice, score_features
from screening.settings import GapSettings


def sizes(n, primitive):
    return CellSizes(np.full(n, primitive), np.full(n, primitive), np.full(n, 20.0 * primitive))


def test_the_highest_scores_go_first_and_the_sample_comes_from_all_others():
    scores = np.array([3.0, -1.0, 2.0, np.inf, 0.5, -2.0])
    choices = choose(scores, cut=0.0, most=2, n_sample=2, seed=1)
    assert choices.tolist().count(FunnelChoice.SAMPLE) == 2
    assert {index for index in range(6) if choices[index] == FunnelChoice.SCORE} == {0, 3}
    assert choose(scores, 0.0, 10, 0, 1).tolist() == [
        FunnelChoice.SCORE if score >= 0 else FunnelChoice.BELOW for score in scores
    ]
    assert choose(scores, 0.0, 1, 0, 1).tolist().count(FunnelChoice.BEYOND) == 3
    assert (choose(scores, 0.0, 0, 99, 1) == FunnelChoice.SAMPLE).all()
    assert len(choose(np.empty(0), 0.0, 1, 1, 1)) == 0


def test_the_choice_repeats_and_follows_the_seed():
    scores = np.random.default_rng(0).normal(size=500)
    assert (choose(scores, 1.0, 30, 50, 7) == choose(scores, 1.0, 30, 50, 7)).all()
    assert (choose(scores, 1.0, 30, 50, 7) != choose(scores, 1.0, 30, 50, 8)).any()


def test_a_spectrum_nearer_to_a_gap_scores_higher_and_one_without_numbers_is_looked_at():
    cut = load_cut(SHIPPED_WEIGHTS_DIR, "student", EDOS_MODELS[0])
    assert cut is not None
    spectra = np.full((4, EDOS_GRID.size), 5.0, dtype=np.float32)
    inside = (EDOS_GRID.centers > -2.5) & (EDOS_GRID.centers < -0.6)
    spectra[1, inside], spectra[2, inside], spectra[3] = 1.5, 0.1, np.nan
    scores = fast_scores(score_features(spectra, np.full(4, 0.4), sizes(4, 5), GapSettings()), cut)
    assert scores[0] < scores[1] < scores[2] < scores[3] == np.inf
    large, larger = (
        fast_scores(score_features(spectra, np.full(4, 0.4), sizes(4, n_sites), GapSettings()), cut)
        for n_sites in (30, 120)
    )
    assert (larger[:3] < large[:3]).all(), "gaps are rare in large cells"


def test_the_score_does_not_depend_on_the_choice_of_cell():
    spectra = np.random.default_rng(0).uniform(0.5, 5, (3, EDOS_GRID.size)).astype(np.float32)
    error, rule = np.full(3, 0.3), GapSettings()
    doubled = CellSizes(np.full(3, 8), np.full(3, 4), np.full(3, 160.0))
    one, two = score_features(spectra, error, sizes(3, 4), rule), score_features(2 * spectra, error, doubled, rule)
    assert two == pytest.approx(one, rel=1e-6)


def test_the_shipped_cut_keeps_98_percent():
    cut = load_cut(SHIPPED_WEIGHTS_DIR, "student", EDOS_MODELS[0])
    assert cut.recall >= 0.98
    assert load_cut(SHIPPED_WEIGHTS_DIR, "student", "mat2spec") is None
    assert load_cut(SHIPPED_WEIGHTS_DIR, "nothing", "mat2spec") is None


def test_a_row_says_why_the_fast_model_speaks():
    assert "below the cut from which slow predicts" in reason_of_choice("below the cut", "fast", "slow")
    assert "more candidates than the limit" in reason_of_choice("beyond the limit", "fast", "slow")
    assert reason_of_choice("score", "fast", "slow") == ""


def test_the_shipped_cut_belongs_to_the_shipped_weights():
    cut = load_cut(SHIPPED_WEIGHTS_DIR, "student", EDOS_MODELS[0])
    hashes = [load_predictor(model).weights_hash for model in ("student", EDOS_MODELS[0])]
    assert hashes == [cut.fast_weights, cut.accurate_weights], "run scripts/calibrate_funnel.py for the new weights"
