"""A run that is killed before or after any of its renames resumes to the tables of an uninterrupted one.

Whatever a run leaves on the disk appears there by a rename, so these are all the states that a kill can leave behind. By default
the first and the last rename of each file are tried, before and after in turn; MAT2SPEC_KILL_POINTS=all tries all of both.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from dft_validation import engines
from dft_validation.engines.gpaw import GpawEngine
from flows import stages
from flows.commands.dft import run_queue
from flows.commands.screen import screen
from flows.settings_layers import load_settings
from screening.report.result_page import PAGE_FILE
from screening.runs.folder import RunFolder
from screening.runs.schemas import TableName
from tests.flows.conftest import FAKE_WORKER, crystals_table
from tests.flows.fake_models import flat_spectrum, use_fake_models

ALL_POINTS = os.environ.get("MAT2SPEC_KILL_POINTS") == "all"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600 if ALL_POINTS else 900),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
]

MATERIALS = ("NaO", "KN", "TiN", "VN", "SrO")
GAPPED = ("TiN", "VN")
# What another process, or the same one at another time, is free to measure or name differently.
NOT_COMPARED = {"cpu_seconds", "wall_seconds", "peak_memory_mib", "former_run_id"}
PATIENCE_S = 120


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("kills") / "crystals.parquet"
    table = crystals_table()
    pq.write_table(table.take([table["material_id"].to_pylist().index(name) for name in MATERIALS]), path)
    return path


@pytest.fixture(autouse=True)
def _fakes(tmp_path, monkeypatch):
    """A model that knows the answers, and a DFT engine whose worker is fake but a process of its own."""
    counter = tmp_path / "counter"
    counter.mkdir()
    use_fake_models(monkeypatch, lambda material_id, _: flat_spectrum(material_id in GAPPED))
    command = (sys.executable, "-S", str(FAKE_WORKER), "ok", str(counter))
    monkeypatch.setattr(engines, "_REGISTERED", {"fake": GpawEngine(name="fake", worker=command, package="numpy")})
    # Drawing takes half of the time; what is to be drawn is compared.
    monkeypatch.setattr(stages, "result_page", _page_in_words)


def _page_in_words(content):
    results = content.results[["material_id", "status"]]
    tables = (content.picks, content.predictions, results, content.precision_recall, content.curve)
    return "\n".join(["page", *(table.to_csv() for table in tables), content.gap.describe()])


@pytest.fixture
def settings_in(source):
    """Settings of a screen that keeps everything in one folder, quick where the physics does not matter."""

    def make(folder, *assignments):
        return load_settings(
            None,
            [
                "source.kind=parquet",
                f"source.path={source}",
                f"results_dir={folder / 'results'}",
                "prediction.models=[mat2spec]",
                "prediction.shard_size=3",
                "selection.max_positives=1",
                "selection.n_random_positives=0",
                "selection.n_random_negatives=1",
                "dft.engine=fake",
                f"dft.cache_dir={folder / 'cache'}",
                "dft.kpoint_density=20",
                "dft.workers=1",
                "evaluation.n_draws=100",
                "evaluation.curve_threshold_factors=[1.0]",
                "evaluation.curve_top_min_ev=[-1.0]",
                "evaluation.curve_min_width_ev=[1.0]",
                *assignments,
            ],
        )

    return make


def renames_of(work):
    """Do something in this process and return the names that it gave to files, in order."""
    names = []

    def note(original, *given, **named):
        names.append(Path(given[1]).name)
        return original(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        _hook_renames(patch, note)
        work()
    return names


def kill_points(names):
    """Which renames, counted from 1, a kill comes before or after."""
    both = ("before", "after")
    if ALL_POINTS:
        return [(number, when) for number in range(1, len(names) + 1) for when in both]
    first = {name: number for number, name in reversed([*enumerate(names, 1)])}
    last = {name: number for number, name in enumerate(names, 1)}
    chosen = sorted({*first.values(), *last.values()})
    return [(number, both[index % 2]) for index, number in enumerate(chosen)]


def kill_at(work, number, when):
    """Do something in a child that is killed "before" or "after" a rename, counted from 1."""
    child = os.fork()
    if child == 0:
        _do_and_die(work, number, when)
    deadline = time.monotonic() + PATIENCE_S
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail(f"The child hangs, to be killed {when} rename {number}.")
        time.sleep(0.005)
    assert os.WIFSIGNALED(ended[1]), f"The child was not killed {when} rename {number}."


def _do_and_die(work, number, when):
    lock, seen = threading.Lock(), 0

    def at_rename(original, *given, **named):
        nonlocal seen
        with lock:
            seen += 1
            if seen == number and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = original(*given, **named)
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

    try:
        _hook_renames(pytest.MonkeyPatch(), at_rename)
        work()
    except BaseException:  # noqa: BLE001 - a child must not come back into pytest
        traceback.print_exc()
    os._exit(1)


def _hook_renames(patch, at_rename):
    for name in ("rename", "replace"):
        original = getattr(os, name)
        patch.setattr(os, name, lambda *given, original=original, **named: at_rename(original, *given, **named))


def differences(reference, folder):
    """Faults of a resumed run: other files, other rows, leftovers; empty if there are none."""
    (run,) = [path for path in (folder / "results").iterdir() if path.is_dir() and not path.is_symlink()]
    (expected,) = [path for path in (reference / "results").iterdir() if path.is_dir() and not path.is_symlink()]
    found = []
    if files_of(folder, run.name) != files_of(reference, expected.name):
        found.append(f"files {files_of(folder, run.name) ^ files_of(reference, expected.name)}")
    info = RunFolder.attach(run).info
    if info["status"] != "finished" or (folder / "results" / "latest").resolve() != run.resolve():
        found.append(f"status {info['status']}")
    if list(info["stages"]) != list(RunFolder.attach(expected).info["stages"]):
        found.append(f"stages {list(info['stages'])}")
    for name in filter(RunFolder.attach(expected).has_table, TableName):
        left, right = (pd.read_parquet(path / f"{name}.parquet") for path in (expected, run))
        found += [f"{name}.{column}" for column in differing_columns(left, right)]
    if (run / PAGE_FILE).read_text() != (expected / PAGE_FILE).read_text():
        found.append("page")
    return found


def files_of(folder, run_id):
    return {str(path.relative_to(folder)).replace(run_id, "RUN") for path in folder.rglob("*")}


def differing_columns(left, right):
    if list(left.columns) != list(right.columns) or len(left) != len(right):
        return [f"shape {left.shape} {right.shape}"]
    return [
        column
        for column in left.columns
        if column not in NOT_COMPARED
        and not all(is_same(a, b) for a, b in zip(left[column], right[column], strict=True))
    ]


def is_same(left, right):
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    if pd.isna(left) or pd.isna(right):
        return bool(pd.isna(left) and pd.isna(right))
    return left == right


def run_trials(points, make_trial):
    """What went wrong where; `make_trial(name)` gives a folder, the work that is killed and resumed there, and a check.

    Every trial is a process, as many of them at a time as there are processors.
    """
    waiting = list(points)
    running, wrong = {}, {}
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            number, when = waiting.pop(0)
            running[_start_trial(number, when, make_trial)] = (number, when)
        child, status = os.wait()
        if status != 0:
            wrong[running[child]] = status
        running.pop(child)
    return wrong


def _start_trial(number, when, make_trial):
    child = os.fork()
    if child == 0:
        try:
            folder, work, reference = make_trial(f"{number}-{when}")
            kill_at(work, number, when)
            work()
            found = differences(reference, folder)
            sys.stderr.write(f"{number} {when}: {found}\n" if found else "")
            shutil.rmtree(folder)
            os._exit(1 if found else 0)
        except BaseException:  # noqa: BLE001 - a child must not come back into pytest
            traceback.print_exc()
            os._exit(2)
    return child


def test_a_screen_killed_at_any_rename_resumes_to_the_same_tables(settings_in, tmp_path):
    reference = tmp_path / "reference"
    names = renames_of(lambda: screen(settings_in(reference)))
    assert len(names) > 25

    def make_trial(name):
        settings = settings_in(tmp_path / name)
        return tmp_path / name, lambda: screen(settings), reference

    assert run_trials(kill_points(names), make_trial) == {}


def test_dft_run_killed_at_any_rename_resumes_to_the_same_tables(settings_in, tmp_path):
    queued, reference = tmp_path / "queued", tmp_path / "reference"
    run_id = screen(settings_in(queued, "run_dft=false")).run_id

    def make_trial(name):
        folder = tmp_path / name
        shutil.copytree(queued, folder, symlinks=True)
        record = folder / "results" / run_id / "run.json"
        record.write_text(record.read_text().replace(str(queued), str(folder)))
        return folder, lambda: run_queue(run_id, folder / "results", [], remote=False), reference

    _, work, _ = make_trial("reference")
    names = renames_of(work)
    assert len(names) > 10
    assert run_trials(kill_points(names), make_trial) == {}
