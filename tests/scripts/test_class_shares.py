from __future__ import annotations

import numpy as np
import pyarrow as pa
from filelock import FileLock

from mat2spec.crystals.arrays import Crystals
from mat2spec.prediction import load_predictor
from scripts import class_shares
from scripts.class_shares import GAPPED_METAL, KNOWN_GAP, NOT_PREDICTED, add_up, count, count_block, share

ROWS = pa.table(
    {
        "material_id": ["si", "al", "broken"],
        "lattice": [(np.eye(3) * a).ravel().tolist() for a in (5.43, 4.05, 3.0)],
        "frac_coords": [[0.0, 0, 0, 0.25, 0.25, 0.25], [0.0] * 3, [0.0] * 6],
        "atomic_numbers": [[14, 14], [13], [11, 17]],
        "band_gap": [0.6, 0.0, np.nan],
    }
)


def test_every_crystal_has_one_class_and_a_piece_is_counted_once(tmp_path, monkeypatch):
    predictor, file = load_predictor("student", device="cpu"), tmp_path / "piece.json"
    with FileLock(file.with_suffix(".lock")):
        count_block(predictor, ROWS, np.arange(3), file)
        assert not file.exists(), "another process is counting it"
    count_block(predictor, ROWS, np.arange(3), file)
    written = file.read_bytes()
    monkeypatch.setattr(class_shares, "count", lambda *_: {})
    count_block(predictor, ROWS, np.arange(3), file)
    assert file.read_bytes() == written


def test_counts_add_up():
    predictor = load_predictor("student", device="cpu")
    found = count(predictor, Crystals.from_arrow(ROWS), ROWS["band_gap"].to_numpy())
    assert found["crystals"] == {KNOWN_GAP: 2}
    for way in class_shares.WAYS:
        classes = {name: n for name, n in found[way].items() if name != GAPPED_METAL}
        assert classes[NOT_PREDICTED] == 1
        assert sum(classes.values()) == 3
    assert found["all"]["metal"] >= 1
    twice = add_up([found, found])
    assert twice["all"]["metal"] == 2 * found["all"]["metal"]


def test_a_sample_has_an_interval_and_the_whole_none():
    assert share(1, 4, is_sample=False) == "25.0"
    assert share(1, 4, is_sample=True) == "25.0 (4.6-69.9)"
