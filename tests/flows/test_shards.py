"""Shards on a local Dask cluster: the tables of one machine, also if a worker is killed in the middle."""

import contextlib
import os
import signal
import threading
import time

import pytest
from prefect.testing.utilities import prefect_test_harness

from flows import pipeline
from flows.commands.screen import screen
from flows.settings_layers import load_settings
from screening.runs.schemas import TableName

distributed = pytest.importorskip("distributed", reason="the extra distributed is not installed")
pytestmark = pytest.mark.slow
TABLES = (TableName.PREDICTIONS, TableName.CLASSIFICATIONS, TableName.PICKS)


@pytest.fixture
def cluster():
    made = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with contextlib.closing(made), distributed.Client(made):
        yield made


@pytest.fixture(autouse=True)
def _prefect_server(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    with prefect_test_harness(server_startup_timeout=120):
        yield


def kill_a_worker_after_the_first_shard(cluster, results_dir, killed):
    """Kill a worker once the first shard is written."""
    while not list(results_dir.glob("*/shards/predictions/*.parquet")):
        time.sleep(0.02)
    worker = next(iter(cluster.workers.values()))
    os.kill(worker.process.pid, signal.SIGKILL)
    killed.append(worker.process.pid)


def test_two_workers_of_which_one_is_killed_write_the_tables_of_one_machine(
    assignments, fake_engine, cluster, tmp_path
):
    words = [*assignments, "prediction.shard_size=2", "run_dft=false"]
    alone = screen(load_settings(None, [*words, f"results_dir={tmp_path / 'alone'}"]))
    killed = []
    results_dir = tmp_path / "together"
    watcher = threading.Thread(
        target=kill_a_worker_after_the_first_shard, args=(cluster, results_dir, killed), daemon=True
    )
    watcher.start()
    settings = load_settings(
        None, [*words, f"results_dir={results_dir}", f"prediction.scheduler={cluster.scheduler_address}"]
    )
    together = screen(settings)
    assert killed, "the worker lived on"
    assert together.is_finished
    for name in TABLES:
        assert together.read_arrow(name).equals(alone.read_arrow(name)), name
    assert pipeline.find_done(pipeline.BY_NAME["predict_spectra"], together) is not None
