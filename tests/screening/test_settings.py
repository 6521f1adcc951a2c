from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from screening.settings import FilterSettings, SourceSettings


def test_settings_ask_for_the_path_of_a_table():
    with pytest.raises(ValueError, match=r"give source\.path"):
        SourceSettings(kind="parquet")


def test_the_catalogue_knows_the_labels_that_the_project_carries(tmp_path, monkeypatch):
    shipped, mine = tmp_path / "shipped.parquet", tmp_path / "mine.parquet"
    monkeypatch.setattr("screening.settings.SHIPPED_STORE", shipped)
    assert SourceSettings().store_of_known_edos is None
    shipped.touch()
    assert SourceSettings().store_of_known_edos == shipped
    assert SourceSettings(edos_store=mine).store_of_known_edos == mine
    assert SourceSettings(kind="parquet", path=tmp_path / "t.parquet").store_of_known_edos is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"n_elements_min": 4, "n_elements_max": 2}, "below n_elements_min"),
        ({"band_gap_min_ev": 1.0, "band_gap_max_ev": 0.5}, "below band_gap_min_ev"),
        ({"energy_above_hull_max_ev_per_atom": -0.1}, "is negative"),
        ({"band_gap_min_ev": -1}, "is negative"),
        ({"n_sites_max": 0}, "nothing would pass"),
        ({"n_elements_min": 0}, "nothing would pass"),
        ({"allowed_elements": ["Al", "Xx"]}, "Xx is not a chemical element"),
        ({"allowed_elements": ["Al"], "excluded_elements": ["Al"]}, "both allowed and excluded"),
        ({"allowed_elements": ["Al"], "n_elements_min": 2}, "names 1 elements"),
        ({"unknown_band_gap": "maybe"}, "'keep' or 'drop'"),
        ({"band_gap": 1}, "Extra inputs"),
        ({"band_gap_max_ev": float("nan")}, "finite number"),
    ],
)
def test_negative_or_contradictory_settings_are_refused_with_a_sentence(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        FilterSettings(**values)


def test_settings_are_imported_without_science():
    code = (
        "import sys, screening.settings, mat2spec.settings;"
        "science = {'torch', 'torch_geometric', 'pymatgen', 'numpy', 'pandas', 'pyarrow', 'prefect'};"
        "print(sorted(science & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
