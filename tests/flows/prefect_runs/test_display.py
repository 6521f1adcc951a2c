"""What a Prefect server shows of a run is made of what can be shown; whatever cannot never ends the run."""

import json
import logging
from pathlib import Path

import httpx
import pandas as pd
import pytest
from prefect.exceptions import TerminationSignal

from flows.prefect_runs import announcements, artifacts
from flows.prefect_runs.flow_runs import only_display
from mat2spec.tables.columns import Column
from mat2spec.tables.files import TableError
from screening.runs.schemas import TableName


class Run:
    """A run folder with one infinite number, and one table that is damaged."""

    run_id = "20261127T000000Z-00000000"
    path = Path()

    def __init__(self):
        self.info = {"stages": {"filter": {"seconds": 0.1, "counts": {"candidates": 3}}}, "db_version": "2026.11"}

    def read_table(self, name):
        if name == TableName.CHANGES:
            raise TableError("changes.parquet is damaged.")
        if name == TableName.PICKS:
            columns = {
                Column.PICK_RANK: [1, 2],
                Column.FORMULA: ["TiN", None],
                Column.GAP_WIDTH_EV: [float("inf"), 1.23456],
            }
            return pd.DataFrame(columns)
        return pd.DataFrame({"n": [1]})


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("All connection attempts failed"),
        json.JSONDecodeError("Expecting value", "<html>", 0),
        TypeError("an answer of another form"),
        TableError("picks.parquet is damaged."),
    ],
)
def test_no_failure_to_show_something_ends_a_run(error, caplog):
    with caplog.at_level(logging.WARNING), only_display("the picks"):
        raise error
    assert "Prefect does not show the picks" in caplog.text


def test_a_run_that_is_told_to_end_ends_while_it_shows_something():
    with pytest.raises(TerminationSignal), only_display("the picks"):
        raise TerminationSignal(signal=15)


def test_a_table_that_cannot_be_shown_leaves_the_others(monkeypatch, caplog):
    shown = {}
    monkeypatch.setattr(artifacts, "create_table_artifact", lambda rows, key, description: shown.update({key: rows}))
    monkeypatch.setattr(artifacts, "create_link_artifact", lambda *_, **__: None)
    artifacts.publish(Run())
    assert artifacts.CHANGES_KEY not in shown
    assert "changes.parquet is damaged" in caplog.text
    assert {artifacts.FILTERS_KEY, artifacts.STAGES_KEY} < set(shown)
    assert [row["gap width (eV)"] for row in shown[artifacts.GAPPED_METALS_KEY]] == [None, 1.235]
    json.dumps(shown, allow_nan=False)


def test_picks_that_cannot_be_announced_end_no_run(monkeypatch, caplog):
    monkeypatch.setattr(announcements, "emit_event", lambda *_, **__: pytest.fail("nothing to say"))
    announcements.announce_picks(Run())
    assert "Prefect does not show the new picks: TypeError" in caplog.text
