"""Rows of a prediction in which another model speaks."""

import numpy as np
import pytest

from mat2spec.spectra.grids import PHDOS_GRID
from mat2spec.spectra.prediction import Prediction
from mat2spec.spectra.trust import Trust
from mat2spec.tables.status import Status


def prediction_of(model, value, *, judged):
    numbers = np.full(3, value, dtype=np.float32)
    verdicts = {"trust": [Trust.OK] * 3, "trust_reason": ["", "far", ""], "unseen_elements": ["", "Po", ""]}
    return Prediction(
        material_ids=np.array(["a", "b", "c"], dtype=object),
        spectra=np.full((3, PHDOS_GRID.size), value, dtype=np.float32),
        scale=numbers,
        uncertainty=np.full((3, PHDOS_GRID.size), value, dtype=np.float32),
        relative_error=numbers,
        domain_distance=numbers,
        status=[Status.OK, Status.OK, Status.FAILED],
        reason=["", "", "its own"],
        model=model,
        weights_hash=model,
        grid=PHDOS_GRID,
        **(verdicts if judged else {}),
    )


@pytest.mark.parametrize("judged", [True, False])
def test_another_model_speaks_in_its_rows_and_nowhere_else(judged):
    mine, other = prediction_of("mine", 1.0, judged=True), prediction_of("other", 2.0, judged=judged)
    rows = np.array([1, 2])
    mixed = mine.with_rows_of(other.take(rows), rows, ["too large", "too large"])
    assert mixed.speakers == ["mine", "other", "other"]
    assert mixed.spectra[:, 0].tolist() == [1, 2, 2]
    assert mixed.relative_error.tolist() == [1, 2, 2]
    assert mixed.reason == ["", "too large", "its own"]
    assert mixed.trust == [Trust.OK, *([Trust.OK] * 2 if judged else [None] * 2)]
    assert mixed.trust_reason == ["", "far" if judged else "", ""]
    assert mixed.unseen_elements == ["", "Po" if judged else "", ""]
    # The given ones are as they were.
    assert mine.spectra[:, 0].tolist() == [1, 1, 1]
    assert mine.trust == [Trust.OK] * 3


def test_a_prediction_that_nobody_judged_stays_so():
    mine, other = prediction_of("mine", 1.0, judged=False), prediction_of("other", 2.0, judged=True)
    assert mine.with_rows_of(other.take(np.array([0])), np.array([0]), [""]).trust == []
