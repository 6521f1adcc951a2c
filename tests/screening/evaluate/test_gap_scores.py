import numpy as np
import pytest

from mat2spec.spectra.grids import EDOS_GRID
from screening.evaluate.gap_scores import score_gapped_metals


def spectrum(gapped):
    """A metal of 2 states/eV, with or without a gap from -2.0 to -0.5 eV."""
    inside = (EDOS_GRID.centers > -2.0) & (EDOS_GRID.centers < -0.5)
    return np.where(inside & gapped, 0.0, 2.0)


def test_scores_count_gapped_metals():
    true = np.stack([spectrum(flag) for flag in (True, True, False, False)])
    predicted = np.stack([spectrum(flag) for flag in (True, False, True, False)])
    scores = score_gapped_metals(predicted, true, np.full(4, 5))
    assert scores == {
        "gap_precision": pytest.approx(0.5),
        "gap_recall": pytest.approx(0.5),
        "gap_f1": pytest.approx(0.5),
        "n_gapped_metals": 2,
    }


def test_without_a_predicted_positive_precision_is_not_defined():
    true = np.stack([spectrum(True), spectrum(False)])
    scores = score_gapped_metals(np.stack([spectrum(False)] * 2), true, np.full(2, 5))
    assert scores["gap_precision"] is None
    assert scores["gap_recall"] == 0
    assert scores["n_gapped_metals"] == 1
