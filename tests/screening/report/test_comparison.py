"""What changed between two runs, from their tables."""

import pandas as pd
import pytest

from screening.report.comparison import ADDED, APPEARED, DFT_CHANGED, DISAPPEARED, compare_runs
from screening.runs.folder import RunFolder
from screening.runs.record import RunError
from screening.runs.schemas import TableName
from tests.screening.report.test_news import table_of


@pytest.fixture
def make_run(tmp_path):
    """Makes a run of materials with the confidence of each; above a half one is a gapped metal."""

    def make(confidences, threshold=0.7, weights="a", dft=None, **further):
        settings = {"gap": {"dos": threshold}, **further}
        with RunFolder.open(tmp_path, settings, weights_hashes={"m": weights}) as run:
            rows = [{"material_id": i, "formula": f"F{i}", "nsites": 1, "nelements": 1} for i in confidences]
            run.write_table(TableName.CANDIDATES, table_of(TableName.CANDIDATES, rows))
            classes = [
                {"material_id": i, "model": "m", "is_gapped_metal": c > 0.5, "gapped_metal_confidence": c}
                for i, c in confidences.items()
            ]
            run.write_table(TableName.CLASSIFICATIONS, table_of(TableName.CLASSIFICATIONS, classes))
            if dft:
                rows = [
                    {"material_id": i, "status": "ok", "is_gapped_metal": gapped, "is_metal": True}
                    for i, gapped in dft.items()
                ]
                columns = ["material_id", "status", "reason", "is_gapped_metal", "is_metal"]
                run.write_table(TableName.DFT_RESULTS, pd.DataFrame(rows, columns=columns).assign(reason=""))
            run.finish()
        return run

    return make


def test_verdicts_that_changed_are_listed_with_both_scores(make_run):
    old = make_run({"a": 0.9, "b": 0.2, "c": 0.8}, dft={"a": True})
    new = make_run({"a": 0.3, "b": 0.7, "c": 0.8, "d": 0.6}, threshold=0.5, dft={"a": False})
    found = compare_runs(old, new).materials
    assert found[["change", "material_id", "formula", "before", "after"]].to_numpy().tolist() == [
        [f"{APPEARED} a gapped metal", "b", "Fb", "0.20", "0.70"],
        [f"{ADDED} a gapped metal", "d", "Fd", "", "0.60"],
        [f"{DISAPPEARED} a gapped metal", "a", "Fa", "0.90", "0.30"],
        [DFT_CHANGED, "a", "Fa", "gapped metal", "metal without such a gap"],
    ]


def test_rules_and_weights_that_differ_are_named(make_run):
    conditions = compare_runs(make_run({"a": 0.9}), make_run({"a": 0.9}, threshold=0.5, weights="b")).conditions
    assert conditions.to_numpy().tolist() == [["gap.dos", "0.7", "0.5"], ["weights.m", "a", "b"]]


def test_a_setting_without_a_value_is_like_one_that_an_older_run_does_not_have(make_run):
    assert compare_runs(make_run({"a": 0.9}), make_run({"a": 0.9}, scheduler=None)).conditions.empty
    limited = compare_runs(make_run({"a": 0.8}, limit=None), make_run({"a": 0.8}, limit=0)).conditions
    assert limited.to_numpy().tolist() == [["limit", "", "0"]]


def test_figures_stand_beside_each_other(make_run):
    counts = compare_runs(make_run({"a": 0.9}), make_run({"a": 0.9, "b": 0.9})).counts.set_index("what")
    assert counts.loc["candidates"].tolist() == ["1", "2"]
    assert counts.loc["gapped metals by m"].tolist() == ["1", "2"]


def test_a_run_that_stopped_early_cannot_be_compared(make_run, tmp_path):
    with RunFolder.open(tmp_path, {"other": 1}) as unfinished, pytest.raises(RunError, match="to resume it"):
        compare_runs(unfinished, make_run({"a": 0.9}))


def test_hits_of_a_target_of_the_users_are_named_as_such(make_run):
    own = {"classify": {"target": "carriers_per_cm3 > 1e21"}}
    found = compare_runs(make_run({"a": 0.9}), make_run({"a": 0.9, "b": 0.9}, **own))
    assert found.materials["change"].tolist() == [f"{ADDED} a hit"]
    assert "hits (carriers_per_cm3 > 1e21) by any model" in found.counts["what"].tolist()
