from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY
from screening.evaluate.published import known_band_gaps, published_results
from screening.settings import GapSettings

METAL = np.full(128, 3.0)
GAPPED = np.where((EDOS_GRID.centers > 0) & (EDOS_GRID.centers < 2), 0.0, 3.0)


@pytest.fixture
def publish(tmp_path):
    """Publishes spectra by material; the source gives some of them a band gap."""

    def make(spectra, band_gaps):
        table = pa.table({"material_id": list(spectra), "edos": [list(values) for values in spectra.values()]})
        store = tmp_path / "store.parquet"
        pq.write_table(table.replace_schema_metadata({GRID_METADATA_KEY: EDOS_GRID.to_json()}), store)
        screened = pd.DataFrame({"material_id": list(spectra), "structure_hash": "s", "run_id": "r"})
        found = published_results([store], SimpleNamespace(screened=screened), GapSettings(), {}, band_gaps)
        return found.set_index("material_id")

    return make


def test_a_spectrum_at_odds_with_the_band_gap_is_not_the_truth(publish):
    spectra = {"mp-1": METAL, "mp-2": METAL, "mp-3": GAPPED, "mp-4": GAPPED}
    found = publish(spectra, {"mp-1": 1.2, "mp-2": 0.0, "mp-3": 0.0, "mp-4": 1.9})
    differs, ok = "band_gap_differs", "ok"
    assert found.status.to_dict() == {"mp-1": differs, "mp-2": ok, "mp-3": differs, "mp-4": ok}
    assert found.is_metal.isna().tolist() == [True, False, True, False]
    assert "1.20 eV" in found.reason["mp-1"]
    assert found.reason["mp-3"] == "The published spectrum has a band gap, but the source gives none."


def test_gaps_too_narrow_for_the_rule_and_unknown_ones_are_no_reason(publish):
    found = publish({"mp-1": METAL, "mp-2": METAL, "mp-3": GAPPED}, {"mp-1": 0.2})
    assert found.status.tolist() == ["ok"] * 3


def test_what_filters_removed_has_a_band_gap_too():
    candidates = pd.DataFrame({"material_id": ["a", "b", "d"], "band_gap": [0.0, None, 2.0]})
    removed = pd.DataFrame({"material_id": ["c"], "band_gap": [1.5]})
    previous = SimpleNamespace(screened=pd.DataFrame({"material_id": ["a", "b", "c"]}))
    assert known_band_gaps(candidates, removed, previous) == {"a": 0.0, "c": 1.5}
