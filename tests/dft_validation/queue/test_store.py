"""The queue on the disk: kill -9, two workers, full disk, clock jumps, damaged file; nothing finished is lost."""

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from dft_validation import JobStatus, plan_jobs, run_jobs
from dft_validation.queue import unwritten
from dft_validation.queue.store import VERSION, JobQueue, QueuedJob, QueueError, QueueFullError
from dft_validation.queue.workers import free_abandoned
from dft_validation.results.cache import DocumentCache

ROOT = Path(__file__).resolve().parents[3]
WORKER = Path(__file__).parents[1] / "fake_worker.py"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dft_queue.sqlite"


@pytest.fixture
def jobs(fake_engine, selection, crystals, settings):
    return plan_jobs(selection, crystals, settings)


def states(path):
    return {job.material_id: str(job.state) for job in JobQueue(path).jobs()}


def test_the_queue_alternates_positives_and_negatives_and_adding_again_changes_nothing(path, jobs, crystals, settings):
    queue = JobQueue(path)
    run_jobs(jobs[:0], crystals, settings, queue=queue)
    assert queue.jobs() == []
    outcomes = run_jobs(jobs, crystals, settings, queue=queue)
    assert [job.material_id for job in queue.jobs()] == ["na", "al", "mg", "k"]
    assert [outcome.material_id for outcome in outcomes] == ["na", "mg", "al", "k"]
    assert queue.add([QueuedJob("na", JobStatus.QUEUED)]) == 0
    assert queue.counts() == {JobStatus.OK: 4}


def test_a_finished_queue_is_read_by_the_next_process(path, jobs, crystals, settings, fake_engine):
    first = run_jobs(jobs, crystals, settings, queue=JobQueue(path))
    again = run_jobs(jobs, crystals, settings, queue=JobQueue(path))
    assert [o.as_dict() for o in again] == [o.as_dict() for o in first]
    assert fake_engine.runs == 4
    assert {job.attempts for job in JobQueue(path).jobs()} == {1}


def test_jobs_that_were_marked_before_they_start_stay_marked(path, selection, crystals, settings, fake_engine):
    planned = plan_jobs(selection, crystals, settings.model_copy(update={"max_estimated_cpu_seconds": 0.1}))
    assert set(planned.status) == {"too_large"}
    assert run_jobs(planned, crystals, settings, queue=JobQueue(path)) == []
    assert set(states(path).values()) == {"too_large"}
    assert all("max_estimated_cpu_seconds" in job.reason for job in JobQueue(path).jobs())
    JobQueue(path).retry([JobStatus.TOO_LARGE])
    assert len(run_jobs(planned, crystals, settings, queue=JobQueue(path))) == 4


def test_failures_keep_their_type_until_they_are_retried_by_it(path, jobs, crystals, settings, fake_engine):
    fake_engine.use("unconverged")
    run_jobs(jobs[:1], crystals, settings, queue=JobQueue(path))
    fake_engine.use("crash")
    run_jobs(jobs[:2], crystals, settings, queue=JobQueue(path))
    assert states(path) == {"na": "unconverged", "mg": "crashed"}
    fake_engine.use("ok")
    outcomes = run_jobs(jobs[:2], crystals, settings, queue=JobQueue(path))
    assert [(o.material_id, str(o.status)) for o in outcomes] == [("na", "unconverged"), ("mg", "crashed")]
    assert fake_engine.runs == 2

    assert JobQueue(path).retry([JobStatus.UNCONVERGED]) == 1
    outcomes = run_jobs(jobs[:2], crystals, settings, queue=JobQueue(path))
    assert states(path) == {"na": "ok", "mg": "crashed"}
    assert outcomes[0].cpu_seconds == 2.0
    assert [job.attempts for job in JobQueue(path).jobs()] == [2, 1]


def test_a_retry_may_change_settings_of_its_jobs_alone(path, jobs, crystals, settings, fake_engine):
    fake_engine.use("unconverged")
    run_jobs(jobs[:1], crystals, settings, queue=JobQueue(path))
    fake_engine.use("ok")
    JobQueue(path).retry([JobStatus.UNCONVERGED], {"max_scf_iterations": 300})
    first, second = run_jobs(jobs[:2], crystals, settings, queue=JobQueue(path))
    assert first.settings["max_scf_iterations"] == 300
    assert first.settings_hash != second.settings_hash == settings.settings_hash


RUN = """
    import sys, time
    import pandas as pd
    from pathlib import Path
    from pymatgen.core import Lattice, Structure
    from dft_validation import DftSettings, plan_jobs, register_engine, run_jobs
    from dft_validation.engines.gpaw import GpawEngine
    from dft_validation.queue.store import JobQueue
    from mat2spec.crystals.arrays import Crystals

    register_engine(GpawEngine(name="fake", worker=(sys.executable, {worker!r}, {mode!r}, {counter!r}), package="numpy"))
    names = ["H", "Li", "Be", "Na", "Mg", "Al", "K", "Ca"]
    structures = [Structure(Lattice.cubic(3 + i / 10), [s], [[0, 0, 0]]) for i, s in enumerate(names)]
    crystals = Crystals.from_structures(structures, names)
    settings = DftSettings(engine="fake", cache_dir={cache!r}, workers=2, kpoint_density=60)
    jobs = plan_jobs(pd.DataFrame({{"material_id": names}}), crystals, settings)
    outcomes = run_jobs(jobs, crystals, settings, queue=JobQueue(Path({queue!r})),
                        on_progress=lambda outcome, *_: print(outcome.material_id, flush=True))
    print("end", *[o.material_id for o in outcomes], flush=True)
"""


@pytest.fixture
def start(tmp_path, path):
    """Start a process that runs a queue of eight jobs."""
    counter = tmp_path / "runs"
    counter.mkdir()
    started = []

    def run(mode="slow"):
        script = RUN.format(
            worker=str(WORKER), mode=mode, counter=str(counter), cache=str(tmp_path / "cache"), queue=str(path)
        )
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    run.counter = counter
    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def kill(process):
    """As the kernel does it: the process and, as the real worker asks for, its children."""
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for child in children:
        child.kill()


def test_kill_9_loses_at_most_the_running_jobs_and_runs_no_finished_one_twice(start, path, tmp_path):
    n_finished = 3
    first = start()
    for _ in range(n_finished):
        first.stdout.readline()
    kill(first)
    kept = {document.formula for document in DocumentCache(tmp_path / "cache").documents()}
    assert len(kept) >= n_finished
    began = len(list(start.counter.iterdir()))
    assert began <= len(kept) + 2

    second = start()
    last_line = second.stdout.read().splitlines()[-1]
    assert last_line == "end H Li Be Na Mg Al K Ca"
    assert set(states(path).values()) == {"ok"}
    # Each crystal once, and once more those that ran when the process was killed.
    assert len(list(start.counter.iterdir())) - began == 8 - len(kept)


def test_two_processes_share_one_queue(start, path):
    processes = [start(), start()]
    assert [process.stdout.read().splitlines()[-1] for process in processes] == ["end H Li Be Na Mg Al K Ca"] * 2
    assert len(list(start.counter.iterdir())) == 8
    assert {job.attempts for job in JobQueue(path).jobs()} == {1}


def test_a_worker_takes_over_from_one_that_was_killed_meanwhile(start, path):
    stuck = start("hang_sodium")
    while states(path).get("Na") != "running":
        time.sleep(0.05)
    helper = start("slow")
    helper.stdout.readline()
    kill(stuck)
    assert helper.stdout.read().splitlines()[-1] == "end H Li Be Na Mg Al K Ca"
    assert set(states(path).values()) == {"ok"}


def test_only_jobs_whose_process_is_gone_are_freed(path, tmp_path):
    queue, cache = JobQueue(path), DocumentCache(tmp_path)
    queue.add([QueuedJob("a", JobStatus.QUEUED), QueuedJob("b", JobStatus.QUEUED)])
    assert queue.take("a", "key-a")
    assert queue.take("b", "key-b")
    assert not queue.take("a", "key-a")
    with cache.try_lock("key-b"):
        assert free_abandoned(queue, cache) == 1
    assert states(path) == {"a": "queued", "b": "running"}


def test_clock_jumps_change_nothing(path, jobs, crystals, settings, fake_engine, monkeypatch):
    true_time, jumps = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: true_time() + (-1) ** next(jumps) * 10 * 365 * 86400)
    fake_engine.use("slow")
    outcomes = run_jobs(jobs, crystals, settings, queue=JobQueue(path))
    assert [o.cpu_seconds for o in outcomes] == [2.0] * 4
    assert fake_engine.runs == 4


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(unwritten, "_PAUSE_SECONDS", 0.01)


def full(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.usefixtures("impatient")
def test_on_a_full_disk_the_result_is_kept_in_memory_and_the_state_says_so(
    path, jobs, crystals, settings, fake_engine, monkeypatch, caplog
):
    with monkeypatch.context() as patch:
        patch.setattr(DocumentCache, "store", full)
        (outcome,) = run_jobs(jobs[:1], crystals, settings, queue=JobQueue(path))
    assert outcome.cpu_seconds == 2.0
    (job,) = JobQueue(path).jobs()
    assert job.state == "disk_full"
    assert "the result could not be written" in job.reason
    assert "could not be written" in caplog.text
    # Once there is space again, the next run computes it by itself.
    (outcome,) = run_jobs(jobs[:1], crystals, settings, queue=JobQueue(path))
    assert states(path) == {"na": "ok"}
    assert fake_engine.runs == 2


@pytest.mark.usefixtures("impatient")
def test_a_disk_that_is_full_for_a_while_loses_nothing(path, jobs, crystals, settings, fake_engine, monkeypatch):
    true_store, fails = DocumentCache.store, iter([True] * 3)

    def store(self, key, outcome):
        if next(fails, False):
            full()
        true_store(self, key, outcome)

    monkeypatch.setattr(DocumentCache, "store", store)
    run_jobs(jobs, crystals, settings, queue=JobQueue(path))
    assert set(states(path).values()) == {"ok"}
    assert len(list(DocumentCache(settings.cache_dir).documents())) == 4
    run_jobs(jobs, crystals, settings, queue=JobQueue(path))
    assert fake_engine.runs == 4


@pytest.mark.usefixtures("impatient")
def test_a_queue_that_cannot_be_written_loses_no_result(path, jobs, crystals, settings, fake_engine, monkeypatch):
    def end(*_):
        raise QueueFullError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(JobQueue, "end", end)
        assert len(run_jobs(jobs[:1], crystals, settings, queue=JobQueue(path))) == 1
    run_jobs(jobs[:1], crystals, settings, queue=JobQueue(path))
    assert states(path) == {"na": "ok"}
    assert fake_engine.runs == 1


def test_a_damaged_queue_is_put_aside_and_made_again_from_the_results(path, jobs, crystals, settings, fake_engine):
    run_jobs(jobs, crystals, settings, queue=JobQueue(path))
    path.write_bytes(b"no database" * 1000)
    assert len(run_jobs(jobs, crystals, settings, queue=JobQueue(path))) == 4
    assert fake_engine.runs == 4
    assert path.with_suffix(".corrupt").exists()


def test_a_queue_whose_folder_is_missing_or_that_another_holds_is_a_sentence(tmp_path, path, monkeypatch):
    with pytest.raises(QueueError, match="cannot be used"):
        JobQueue(tmp_path / "none" / "queue.sqlite")
    monkeypatch.setattr("dft_validation.queue.store._BUSY_SECONDS", 0.05)
    queue = JobQueue(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(QueueError, match="Another process has held the queue"):
        queue.add([QueuedJob("a", JobStatus.QUEUED)])
    other.close()


def test_a_full_disk_is_distinguished_from_other_errors(path):
    queue = JobQueue(path)
    pages = sqlite3.connect(path).execute("PRAGMA page_count").fetchone()[0]
    queue._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(QueueFullError, match="The disk is full"):
        queue.add([QueuedJob(f"material-{i}", JobStatus.QUEUED, "x" * 1000) for i in range(100)])
    assert queue.jobs() == []


def test_a_lost_result_is_computed_again(path, jobs, crystals, settings, fake_engine):
    run_jobs(jobs, crystals, settings, queue=JobQueue(path))
    next(settings.cache_dir.glob("??/*.json")).unlink()
    assert len(run_jobs(jobs, crystals, settings, queue=JobQueue(path))) == 4
    assert fake_engine.runs == 5


def test_many_threads_take_each_job_once(path):
    queue = JobQueue(path)
    queue.add([QueuedJob(str(index), JobStatus.QUEUED) for index in range(40)])
    taken = []

    def take_all():
        mine = JobQueue(path)
        taken.extend(job.material_id for job in mine.jobs(JobStatus.QUEUED) if mine.take(job.material_id, "key"))

    threads = [threading.Thread(target=take_all) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken, key=int) == [str(index) for index in range(40)]


def test_the_file_of_an_earlier_version_is_brought_up_to_date(tmp_path):
    path = tmp_path / "dft_queue.sqlite"
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE jobs (position INTEGER PRIMARY KEY, material_id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, "
            "reason TEXT NOT NULL DEFAULT '', estimated_cpu_seconds REAL, cpu_seconds REAL NOT NULL DEFAULT 0, "
            "attempts INTEGER NOT NULL DEFAULT 0)"
        )
        old.execute("INSERT INTO jobs (material_id, state) VALUES ('na', 'queued')")
    old.close()
    for _ in range(2):
        with closing(JobQueue(path)) as queue:
            (job,) = queue.jobs()
            assert (job.material_id, job.state, job.overrides, job.remote_id) == ("na", JobStatus.QUEUED, {}, "")
    with closing(sqlite3.connect(path)) as now:
        assert now.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_the_file_of_a_later_version_is_left_alone(tmp_path):
    path = tmp_path / "dft_queue.sqlite"
    JobQueue(path).close()
    with closing(sqlite3.connect(path)) as later:
        later.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(QueueError, match="written by a later version"):
        JobQueue(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_not_taken_for_another_process(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    queue = JobQueue(tmp_path / "dft_queue.sqlite")
    monkeypatch.setattr("mat2spec.tables.locks.fcntl.lockf", refuse)
    with pytest.raises(QueueError, match=r"has no locks.*Choose a folder on another one"), queue._transaction():
        raise sqlite3.OperationalError("database is locked")
    queue.close()
