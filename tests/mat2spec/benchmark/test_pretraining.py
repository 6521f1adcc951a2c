import numpy as np
import pandas as pd
import pytest

from mat2spec.benchmark.data import BenchmarkError
from mat2spec.benchmark.pretraining import compare_origins, origins_table


@pytest.fixture
def rows():
    """Errors grow with the rarity of elements, which are rarer outside; one model is worse outside by half besides."""
    rare = np.array([5] * 4 + [30] * 12 + [5] * 12 + [30] * 4)
    is_outside = np.arange(32) >= 16
    names = [f"cat-{i}" if outside else f"mp-{i}" for i, outside in enumerate(is_outside)]
    table = pd.DataFrame(
        {
            "material_id": names,
            "formula": [f"Li{i + 1}O" for i in range(32)],
            "n_elements": 2,
            "n_train_rarest_element": rare,
            "error": np.where(rare < 10, 0.4, 0.2),
        }
    )
    worse = table.assign(error=table["error"] * np.where(is_outside, 1.5, 1.0))
    return pd.concat([table.assign(label="same"), worse.assign(label="worse")], ignore_index=True)


def test_kinds_are_compared_at_equal_composition(rows):
    found = compare_origins(rows).set_index("label")
    assert found["ratio"].to_dict() == pytest.approx({"same": 1.0, "worse": 1.5})
    assert found.loc["same", "outside"] == pytest.approx(0.35), "twelve of sixteen have a rare element"
    assert (found["low"] <= found["ratio"] + 1e-9).all()
    assert "| worse | 0.350 (16) | 0.525 (16) | 1.50 (1.50-1.50) |" in origins_table(found.reset_index())


def test_crystals_of_known_formulas_are_left_out(rows):
    found = compare_origins(rows, known_formulas=["Li1O", "Li17O", "Li18O"])
    assert found[["n_inside", "n_outside"]].iloc[0].tolist() == [16, 14]


def test_a_table_of_one_kind_is_refused(rows):
    with pytest.raises(BenchmarkError, match="no similar materials"):
        compare_origins(rows, prefix="cod-")
