import numpy as np
import pandas as pd
import pytest

from mat2spec.benchmark.data import BenchmarkError
from mat2spec.benchmark.error_figures import (
    SUBCLASSES,
    averaged_over_seeds,
    chosen_rows,
    draw_error_figures,
    error_tables,
    number_groups,
    ranked_groups,
    summarise_errors,
)


@pytest.fixture
def table():
    """Two models on ten materials: the second makes twice the error of the first, which grows with the sites."""
    n = 10
    materials = pd.DataFrame(
        {
            "material_id": [f"mp-{i}" for i in range(n)],
            "formula": [f"Li{i + 1}O" for i in range(n)],
            "chemical_system": ["Li-O"] * 8 + ["Cl-Na", "La-O-Sr"],
            "n_elements": [2] * 9 + [3],
            "n_sites": np.arange(1, n + 1),
            "space_group": pd.array([225] * 5 + [None] * 5, dtype="Int64"),
            "n_train_chemical_system": pd.array([0, 1] * 5, dtype="Int64"),
            "n_train_rarest_element": np.arange(n),
            "n_train_space_group": pd.array([3] * 5 + [None] * 5, dtype="Int64"),
            "n_train_prototype": pd.array([3] * 5 + [None] * 5, dtype="Int64"),
            "fourier_low": np.linspace(0.9, 0.1, n),
            "fourier_high": np.linspace(0.05, 0.6, n),
            "test_set": "test",
            "setting": "sumnorm-kl",
        }
    )
    seeds = [("first", 0, 0.01), ("first", 1, 0.03), ("second", 0, 0.04)]
    rows = [
        materials.assign(contender=name, seed=seed, n_members=1, error=factor * materials["n_sites"])
        for name, seed, factor in seeds
    ]
    ensemble = materials.assign(contender="first", seed=None, n_members=2, error=0.01 * materials["n_sites"])
    return pd.concat([*rows, ensemble], ignore_index=True).astype({"seed": "Int64"})


def test_seeds_are_averaged_and_ensembles_stand_alone(table):
    means = averaged_over_seeds(table).groupby("label")["error"].mean()
    assert means.to_dict() == pytest.approx(
        {"first/sumnorm-kl": 0.11, "second/sumnorm-kl": 0.22, "first/sumnorm-kl, ensemble": 0.055}
    )


def test_groups_of_numbers_have_inclusive_ends():
    numbers = pd.Series(pd.array([0, 1, 2, 3, 4, 50, None], dtype="Int64"))
    groups = number_groups(numbers, (0, 1, 3))
    assert groups.astype(object).tolist()[:-1] == ["0", "1", "2-3", "2-3", "4 or more", "4 or more"]
    assert pd.isna(groups.iloc[-1])


def test_ranked_groups_are_equally_large_whatever_the_order():
    values, names = pd.Series([0.5, 0.1, 0.4, 0.2, np.nan]), pd.Series(["a", "b", "c", "d", "e"])
    groups = ranked_groups(values, names, 2, "half {}")
    assert groups.astype(object).tolist()[:-1] == ["half 2", "half 1", "half 2", "half 1"]
    assert pd.isna(groups.iloc[-1])


def test_summary_has_the_means_of_the_table(table):
    rows = chosen_rows(table, None, ["first/sumnorm-kl", "second/sumnorm-kl"])
    summary = summarise_errors(rows).set_index(["panel", "group", "label"])
    sites = summary.loc[("sites per cell", "3-4", "first/sumnorm-kl")]
    assert sites["n"] == 2
    assert sites["error"] == pytest.approx(0.02 * 3.5)
    assert (summary["low"] <= summary["error"]).all()
    assert (summary["error"] <= summary["high"]).all()
    fifths = [f"quintile {number}" for number in range(1, 6)]
    of_second = [summary.loc[("quintiles of first/sumnorm-kl", name, "second/sumnorm-kl")]["error"] for name in fifths]
    assert of_second == pytest.approx([0.04 * sites for sites in (1.5, 3.5, 5.5, 7.5, 9.5)])
    assert summary.loc[("subclass", "space group 225", "first/sumnorm-kl")]["n"] == 5


def test_subclasses_of_the_paper(table):
    ternary = SUBCLASSES["ternary oxides, no rare earth"]
    names = pd.DataFrame(
        {"chemical_system": ["O-Sr-Ti", "La-O-Ti", "Cl-O-Sr-Ti", "Cl-Na-Sr"], "n_elements": [3, 3, 4, 3]}
    )
    assert ternary(names).tolist() == [True, False, False, False]


def test_figures_and_tables_are_written(table, tmp_path):
    summary = summarise_errors(chosen_rows(table, "test", []))
    paths = draw_error_figures(tmp_path, summary)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert "| 3-4 | 2 | 0.070 | 0.140 | 0.035 |" in error_tables(summary)


def test_what_is_not_in_the_table_is_named(table):
    with pytest.raises(BenchmarkError, match="'megnet/x' is not in the table; choose from first/sumnorm-kl"):
        chosen_rows(table, None, ["megnet/x"])
    with pytest.raises(BenchmarkError, match="test set 'test_random'"):
        chosen_rows(table, "test_random", [])
