"""Work that is killed at random moments, again and again, ends as if it had not been: screen, DFT, labels, training.

The kills come from a seed, the moments they hit from the machine. `MAT2SPEC_KILLS=200 pytest -m slow` kills that often.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
import traceback

import pyarrow.parquet as pq
import pytest
import torch

from dft_validation.labels.factory import LabelFactory
from dft_validation.labels.reserved import Reserved
from dft_validation.settings import DftSettings, LabelSettings
from flows.commands.dft import run_queue
from flows.commands.screen import screen
from mat2spec.training.runs import run_training
from mat2spec.training.tight_binding_runs import run_tight_binding
from screening.sources.parquet import ParquetSource
from tests.flows.conftest import crystals_table
from tests.flows.test_kills import _fakes, differences, differing_columns, settings_in, source
from tests.mat2spec.conftest import labelled
from tests.mat2spec.training.test_loop import assert_same_weights, epochs_in, quick
from tests.mat2spec.training.test_tight_binding_runs import SMALL, few

__all__ = ["_fakes", "few", "labelled", "settings_in", "source"]  # fixtures

pytestmark = [pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"), pytest.mark.timeout(1800)]

SEED = 20261127
PATIENCE_S = 120
HOW_OFTEN = [2, pytest.param(int(os.environ.get("MAT2SPEC_KILLS", "25")), marks=pytest.mark.slow)]


def in_child(work, kill_after_s=None):
    """Do something in a process of its own; return whether it was killed before its end."""
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child must not come back into pytest
            traceback.print_exc()
            os._exit(1)
    end = time.monotonic() + (PATIENCE_S if kill_after_s is None else kill_after_s)
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            assert kill_after_s is not None, "The work hangs."
            return True
        time.sleep(0.002)
    assert ended[1] == 0, "The work failed."
    return False


def kill_at_random(work, n_kills, start_anew=lambda: None, is_finished=lambda: False):
    """Kill some work at random moments, so many times, and let it end; work that had finished when killed starts anew."""
    rng, killed = random.Random(SEED), 0
    start = time.monotonic()
    in_child(work)
    duration = time.monotonic() - start
    start_anew()
    while killed < n_kills:
        if in_child(work, rng.uniform(0, duration)) and not is_finished():
            killed += 1
        else:
            start_anew()
    in_child(work)


@pytest.mark.parametrize("n_kills", HOW_OFTEN)
def test_a_screen(settings_in, tmp_path, n_kills):
    in_child(lambda: screen(settings_in(tmp_path / "reference")))
    folder = tmp_path / "killed"

    def is_finished():  # between its last step and the end of the process, a screen is done: the next is a new one
        records = folder.glob("results/*/run.json")
        return any(json.loads(record.read_text())["status"] == "finished" for record in records)

    kill_at_random(lambda: screen(settings_in(folder)), n_kills, lambda: shutil.rmtree(folder), is_finished)
    assert differences(tmp_path / "reference", folder) == []


@pytest.mark.parametrize("n_kills", HOW_OFTEN)
def test_the_dft_of_a_run(settings_in, tmp_path, n_kills):
    queued, folder = tmp_path / "queued", tmp_path / "killed"
    in_child(lambda: screen(settings_in(queued, "run_dft=false")))
    (run_id,) = [path.name for path in (queued / "results").iterdir() if path.is_dir() and not path.is_symlink()]

    def begin(place=folder):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(queued, place, symlinks=True)
        record = place / "results" / run_id / "run.json"
        record.write_text(record.read_text().replace(str(queued), str(place)))

    begin(tmp_path / "reference")
    in_child(lambda: run_queue(run_id, tmp_path / "reference" / "results", [], remote=False))
    begin()
    kill_at_random(lambda: run_queue(run_id, folder / "results", [], remote=False), n_kills, begin)
    assert differences(tmp_path / "reference", folder) == []


@pytest.mark.parametrize("n_kills", HOW_OFTEN)
def test_labels(tmp_path, n_kills):
    table = crystals_table().slice(0, 5)
    pq.write_table(table, tmp_path / "crystals.parquet")
    ids = table["material_id"].to_pylist()

    def factory_in(folder):
        label = LabelSettings(store=folder / "store.parquet", n=len(ids), save_every_s=0.0)
        dft = DftSettings(engine="fake", cache_dir=folder / "cache", workers=2, time_limit_s=20, kpoint_density=20)
        return LabelFactory(ParquetSource(tmp_path / "crystals.parquet"), label, dft, Reserved(), lambda _: None)

    def label(folder):
        factory_in(folder).label_ids(ids, lambda *_: None)

    folder = tmp_path / "killed"
    in_child(lambda: label(tmp_path / "reference"))
    counter = tmp_path / "counter"
    before = len(list(counter.iterdir()))
    n_begun = [0]

    def start_anew():
        n_begun[0] += 1
        shutil.rmtree(folder)

    kill_at_random(lambda: label(folder), n_kills, start_anew)
    expected, found = (
        factory_in(place).store.labels().to_pandas().sort_values("material_id", ignore_index=True)
        for place in (tmp_path / "reference", folder)
    )
    assert differing_columns(expected, found) == []
    assert found["material_id"].tolist() == sorted(ids)
    # A kill costs at most the two jobs that were running.
    assert len(list(counter.iterdir())) - before <= len(ids) * (1 + n_begun[0]) + 2 * n_kills


@pytest.mark.parametrize("n_kills", HOW_OFTEN)
def test_a_training(labelled, tmp_path, n_kills):
    settings, folder = quick(epochs=4), tmp_path / "killed"
    in_child(lambda: run_training(labelled, settings, tmp_path / "whole"))
    kill_at_random(lambda: run_training(labelled, settings, folder), n_kills, lambda: shutil.rmtree(folder))
    assert epochs_in(folder) == [1, 2, 3, 4]
    name = "gatgnn-edos-sumnorm-kl.safetensors"
    assert_same_weights(folder / name, tmp_path / "whole" / name)
    assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}


@pytest.mark.slow
def test_a_training_of_tight_binding(few, tmp_path):
    settings, folder = SMALL.model_copy(update={"epochs": 2}), tmp_path / "killed"
    in_child(lambda: run_tight_binding(few, settings, tmp_path / "whole"))
    n_kills = HOW_OFTEN[1].values[0]
    kill_at_random(lambda: run_tight_binding(few, settings, folder), n_kills, lambda: shutil.rmtree(folder))
    name = "tight-binding-edos-sumnorm-kl.safetensors"
    assert_same_weights(folder / name, tmp_path / "whole" / name)
    assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}
