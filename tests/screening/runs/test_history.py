"""What is new since previous runs: hashes of structures, changes, and what need not be screened again."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.identity import rounded_structure_hashes
from screening.runs.folder import RunFolder
from screening.runs.history import SCREENED_BEFORE, Change, PreviousRuns, find_changes, keep_unscreened
from screening.runs.schemas import TableName

IDENTITY = {"settings": {"gap": {"min_width_ev": 1.0}, "source": {"kind": "parquet"}}, "weights_hashes": {"m": "1"}}


def cubes(*lengths):
    return Crystals.from_lists(
        [f"mp-{i}" for i in range(len(lengths))],
        [[11, 17]] * len(lengths),
        [np.array([[0, 0, 0], [0.5, 0.5, 0.5]])] * len(lengths),
        [np.eye(3) * length for length in lengths],
    )


def candidates(**hashes):
    ids = [name.replace("_", "-") for name in hashes]
    n = len(ids)
    return pd.DataFrame(
        {
            "material_id": ids,
            "formula": ["NaCl"] * n,
            "chemsys": ["Cl-Na"] * n,
            "nsites": [2] * n,
            "nelements": [2] * n,
            "energy_above_hull": [0.0] * n,
            "band_gap": [0.0] * n,
            "structure_hash": list(hashes.values()),
        }
    )


def finished_run(results, rows, known=(), identity=IDENTITY, release="1"):
    with RunFolder.open(results, **identity, source_fingerprint=release, db_version=release) as run:
        run.write_table(TableName.CANDIDATES, rows)
        run.write_table(TableName.KNOWN_EDOS, pd.DataFrame({"material_id": pd.Series(list(known), dtype=object)}))
        run.finish()
    return run


def test_a_hash_sees_a_changed_cell_coordinate_or_element_and_nothing_smaller_than_rounding():
    crystals = cubes(5.0)
    (same,) = rounded_structure_hashes(crystals)
    moved, exchanged = crystals.frac_coords.copy(), crystals.atomic_numbers.copy()
    moved[1, 0] += 0.01
    exchanged[0] = 19
    others = [
        cubes(5.02),
        replace(crystals, frac_coords=moved),
        replace(crystals, atomic_numbers=exchanged),
        replace(crystals, lattices=np.full((1, 3, 3), np.nan)),
    ]
    assert len({same, *(rounded_structure_hashes(other)[0] for other in others)}) == 5
    in_single_precision = replace(crystals, lattices=crystals.lattices.astype(np.float32).astype(float) * (1 + 1e-6))
    assert rounded_structure_hashes(in_single_precision)[0] == same
    next_cell = replace(crystals, frac_coords=crystals.frac_coords + np.diag([1.0, -1.0, 0])[:2])
    assert rounded_structure_hashes(next_cell)[0] == same


def test_without_previous_runs_everything_is_new(tmp_path):
    previous = PreviousRuns.find(tmp_path, IDENTITY)
    assert previous.last_run_id is None
    changes = find_changes(candidates(mp_1="a", mp_2="b"), {"mp-9"}, previous)
    assert changes["change"].tolist() == [Change.NEW, Change.NEW]
    assert changes["former_run_id"].isna().all()


def test_changes_name_each_kind_once(tmp_path):
    run = finished_run(tmp_path, candidates(mp_1="a", mp_2="b", mp_3="c", mp_4="d"), known=["mp-5", "mp-6"])
    now = candidates(mp_1="a", mp_2="other", mp_5="e", mp_7="g")
    changes = find_changes(now, {"mp-3", "mp-6"}, PreviousRuns.find(tmp_path, IDENTITY))
    found = dict(zip(changes["material_id"], changes["change"], strict=True))
    # mp-1 stayed, mp-4 went away, mp-6 had its eDOS before.
    assert found == {
        "mp-2": Change.STRUCTURE,
        "mp-3": Change.GAINED_EDOS,
        "mp-5": Change.LOST_EDOS,
        "mp-7": Change.NEW,
    }
    runs = dict(zip(changes["material_id"], changes["former_run_id"], strict=True))
    assert runs["mp-2"] == runs["mp-3"] == run.run_id
    assert pd.isna(runs["mp-7"])


def test_an_edos_is_gained_once(tmp_path):
    finished_run(tmp_path, candidates(mp_1="a", mp_2="b"))
    finished_run(tmp_path, candidates(mp_1="a"), known=["mp-2"], release="2")
    assert find_changes(candidates(mp_1="a"), {"mp-2"}, PreviousRuns.find(tmp_path, IDENTITY)).empty


def test_only_what_no_run_screened_is_kept_and_counted(tmp_path):
    finished_run(tmp_path, candidates(mp_1="a", mp_2="b"))
    finished_run(tmp_path, candidates(mp_3="c"), release="2")
    counts = pd.DataFrame(
        {"filter": ["source"], "removed": [0], "unknown_removed": [0], "unknown_kept": [0], "remaining": [4]}
    )
    now = candidates(mp_1="a", mp_2="changed", mp_3="c", mp_4="d")
    kept, counts = keep_unscreened(now, counts, PreviousRuns.find(tmp_path, IDENTITY))
    assert kept["material_id"].tolist() == ["mp-2", "mp-4"]
    assert counts.iloc[-1].to_dict() == {
        "filter": SCREENED_BEFORE,
        "removed": 2,
        "unknown_removed": 0,
        "unknown_kept": 0,
        "remaining": 2,
    }


@pytest.mark.parametrize(
    "other",
    [
        IDENTITY | {"weights_hashes": {"m": "2"}},
        {**IDENTITY, "settings": IDENTITY["settings"] | {"gap": {"min_width_ev": 2.0}}},
        {**IDENTITY, "settings": IDENTITY["settings"] | {"source": {"kind": "catalogue"}}},
    ],
    ids=["weights", "gap rule", "kind of source"],
)
def test_runs_that_would_give_other_results_do_not_count(tmp_path, other):
    finished_run(tmp_path, candidates(mp_1="a"), identity=other)
    assert PreviousRuns.find(tmp_path, IDENTITY).screened.empty


def test_an_unfinished_run_does_not_count(tmp_path):
    with RunFolder.open(tmp_path, **IDENTITY) as run:
        run.write_table(TableName.CANDIDATES, candidates(mp_1="a"))
    assert PreviousRuns.find(tmp_path, IDENTITY).screened.empty
