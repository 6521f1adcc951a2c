"""Faults of the machine are named as such, cost no result, and are not blamed on crystals or files."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from dft_validation.engines.child import child_environment
from dft_validation.jobs import calculation
from dft_validation.jobs.scratch import PREFIX, remove_abandoned_folders, scratch_folder
from dft_validation.queue.workers import run_as_job
from dft_validation.results.outcomes import PASSING_STATES
from dft_validation.settings import DftSettings
from flows.cli import program
from flows.commands.exits import sentence_of
from flows.commands.predict import predict_files
from flows.settings import ServeSettings
from flows.settings_layers import SettingsRefusedError, load_settings
from mat2spec.faults import is_out_of_memory, reason_of_fault
from mat2spec.settings import cache_dir
from mat2spec.tables.files import TableError, atomic_file, atomic_path, explain_os_error, undisturbed
from mat2spec.tables.parquet import read_table
from screening.runs.folder import RunFolder
from screening.runs.history import PreviousRuns
from screening.runs.record import RunError, latest_run
from tests.robustness.crystal_texts import salt
from tests.screening.runs.test_history import IDENTITY, candidates, finished_run

POSIX = pytest.mark.skipif(os.name != "posix", reason="POSIX")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux")

FULL = {
    "Python": MemoryError(),
    "Arrow": pa.ArrowMemoryError("malloc of size 2147483648 failed"),
    "numpy": MemoryError("Unable to allocate 7.45 GiB for an array with shape (1000000000,)"),
    "torch": RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
    "CUDA": torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "the system": OSError(errno.ENOMEM, "Cannot allocate memory"),
}


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_full_memory_is_never_blamed_on_the_crystal(error):
    assert is_out_of_memory(error)
    with pytest.raises(MemoryError, match="smaller batches"):
        reason_of_fault(error)


@pytest.mark.parametrize("error", [pa.ArrowMemoryError("malloc of size 9 failed"), MemoryError()])
def test_full_memory_is_never_taken_for_a_damaged_table(tmp_path, monkeypatch, error):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    monkeypatch.setattr(pq, "read_table", lambda *_, **__: (_ for _ in ()).throw(error))
    with pytest.raises(TableError, match="not enough memory") as refused:
        read_table(tmp_path / "x.parquet")
    assert "damaged" not in str(refused.value)


DISKS = (
    (errno.ENOSPC, "disk is full"),
    (errno.EDQUOT, "quota"),
    (errno.EROFS, "read-only"),
    (errno.EACCES, "permission"),
    (errno.EIO, "disk or the network drive fails"),
    (errno.ESTALE, "network drive has lost"),
    (errno.ELOOP, "symbolic link"),
    (errno.EMFILE, "files are open"),
    (errno.ENFILE, "files open"),
    (errno.EFBIG, "larger than a file may be"),
    (errno.ENAMETOOLONG, "too long"),
    (errno.ENOMEM, "not enough memory"),
)


@pytest.mark.parametrize(("number", "words"), DISKS)
def test_faults_of_a_disk_name_the_file_and_leave_none(tmp_path, number, words):
    with pytest.raises(TableError, match=words) as refused, atomic_file(tmp_path / "x.parquet"):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path / "x.parquet") in str(refused.value)
    with pytest.raises(OSError, match=os.strerror(number)) as bare, atomic_path(tmp_path / "page.html"):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path / "page.html") in sentence_of(bare.value)
    assert list(tmp_path.iterdir()) == []
    assert str(explain_os_error(OSError(number, "x"), tmp_path, "read"))


MACHINE_FAULTS = {
    "a full memory": (MemoryError(), "killed"),
    "a full disk": (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
    "a used quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk_full"),
    **{os.strerror(number): (OSError(number, os.strerror(number)), "killed") for number in (errno.EIO, errno.ESTALE)},
    **{os.strerror(number): (OSError(number, os.strerror(number)), "killed") for number in (errno.EMFILE, errno.EROFS)},
}


@pytest.mark.parametrize(("error", "status"), MACHINE_FAULTS.values(), ids=MACHINE_FAULTS)
def test_a_job_that_the_machine_ended_is_tried_again(monkeypatch, error, status):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(calculation, "cell_to_compute", fail)
    monkeypatch.setattr("jobflow.run_locally", fail)
    for compute in (calculation.calculate_edos, run_as_job):
        if isinstance(error, MemoryError) and compute is calculation.calculate_edos:
            continue  # whoever runs it as a job says so
        failed = compute(salt(), "mp-1", DftSettings())
        assert failed.status == status
        assert failed.status in PASSING_STATES
        assert "again" in failed.reason or "cannot be written" in failed.reason


@POSIX
@pytest.mark.timeout(30)
@pytest.mark.parametrize("write", [atomic_file, atomic_path])
def test_no_file_takes_the_place_of_a_pipe_or_device(tmp_path, write):
    os.mkfifo(tmp_path / "x")
    with pytest.raises(TableError, match="is a pipe"), write(tmp_path / "x"):
        pass
    assert (tmp_path / "x").is_fifo()


OUTPUTS = {
    "over a table of crystals": ("x.parquet", "x.parquet", "x.html", "p.html", "would be overwritten"),
    "over a link to a crystal": ("x.json", "t.csv", "x.html", "link.html", "would be overwritten"),
    "twice into one file": ("x.json", "t.csv", "p.html", "./p.html", "named twice"),
}


@pytest.mark.parametrize(("given", "table", "plot", "page", "words"), OUTPUTS.values(), ids=OUTPUTS)
def test_a_prediction_never_overwrites_what_it_reads_or_has_written(
    tmp_path, monkeypatch, given, table, plot, page, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / given).write_text("{}")
    (tmp_path / "link.html").symlink_to(given)
    with pytest.raises(SettingsRefusedError, match=words):
        predict_files([Path(given)], Path(table), Path(plot), None, [], page=Path(page))
    assert (tmp_path / given).read_text() == "{}"


@LINUX
def test_a_folder_that_was_removed_under_the_program_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # which leads back
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert program.run(["settings"]) == 1
    assert "no longer exists" in capsys.readouterr().err


def test_a_file_in_place_of_the_results_is_named(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(RunError, match="is a file"):
        latest_run(tmp_path / "x")


DAMAGE = {
    "candidates gone": lambda run: (run / "candidates.parquet").unlink(),
    "candidates damaged": lambda run: (run / "candidates.parquet").write_bytes(b"PAR1 no more"),
    "candidates empty": lambda run: (run / "candidates.parquet").write_bytes(b""),
    "known eDOS gone": lambda run: (run / "known_edos.parquet").unlink(),
    "columns gone": lambda run: pq.write_table(pa.table({"x": [1]}), run / "candidates.parquet"),
    "a folder instead": lambda run: ((run / "known_edos.parquet").unlink(), (run / "known_edos.parquet").mkdir()),
    "record damaged": lambda run: (run / "run.json").write_text("{"),
    "record of another kind": lambda run: (run / "run.json").write_text("[1]"),
    "settings of another kind": lambda run: (run / "run.json").write_text(
        '{"run_id": "x", "status": "finished", "fingerprint": "f", "settings": 5}'
    ),
    "all but the record gone": lambda run: [path.unlink() for path in run.glob("*.parquet")],
    "all gone": lambda run: [path.unlink() for path in run.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_previous_run_is_named_and_stops_no_later_one(tmp_path, caplog, damage):
    finished_run(tmp_path, candidates(mp_1="a"), known=["mp-9"])
    bad = finished_run(tmp_path, candidates(mp_2="b"), release="2")
    damage(bad.path)
    with caplog.at_level(logging.WARNING):
        previous = PreviousRuns.find(tmp_path, IDENTITY)
    assert previous.screened["material_id"].tolist() == ["mp-1"]
    assert bad.run_id in caplog.text or not (bad.path / "run.json").exists()


def test_a_renamed_run_is_known_by_its_folder(tmp_path):
    run = finished_run(tmp_path, candidates(mp_1="a"))
    run.path.rename(tmp_path / "the good one")
    assert PreviousRuns.find(tmp_path, IDENTITY).screened["run_id"].tolist() == ["the good one"]


def test_what_is_kept_of_previous_runs_does_not_grow_with_them(tmp_path):
    for release in range(5):
        finished_run(tmp_path, candidates(mp_1="a", mp_2=f"b{release}"), release=str(release))
    previous = PreviousRuns.find(tmp_path, IDENTITY)
    assert len(previous.screened) == 6
    assert previous.last_run_of(pd.Series(["mp-1"])).tolist() == [previous.last_run_id]


def test_only_what_is_asked_about_is_kept_of_previous_runs(tmp_path):
    finished_run(tmp_path, candidates(mp_1="a", mp_2="b", mp_3="c"), known=["mp-8", "mp-9"])
    previous = PreviousRuns.find(tmp_path, IDENTITY, ["mp-2", "mp-9", "mp-77"])
    assert previous.screened["material_id"].tolist() == ["mp-2"]
    assert previous.known_edos == {"mp-9"}
    assert PreviousRuns.find(tmp_path, IDENTITY, []).screened.empty


MACHINES = (
    "dft.workers=7",
    "dft.cache_dir=/elsewhere",
    "dft.time_limit_s=1234",
    "dft.memory_limit_mib=9999",
    "dft.elk_command=/opt/elk",
    "prediction.device=cpu",
    "prediction.max_edges_per_batch=77",
    "source.mp_cache_dir=/elsewhere",
    "source.mp_timeout_s=3",
    "results_dir=/elsewhere",
    "serve.port=4321",
)


@pytest.mark.parametrize("assignment", MACHINES)
def test_a_run_resumes_on_another_machine(assignment):
    assert load_settings(None, [assignment]).that_decide() == load_settings().that_decide()


@pytest.mark.parametrize(
    "assignment", ["gap.min_width_ev=1.5", "prediction.models=[mat2spec]", "dft.kpoint_density=99"]
)
def test_a_run_of_other_physics_is_another(assignment):
    assert load_settings(None, [assignment]).that_decide() != load_settings().that_decide()


def test_a_stopped_run_is_taken_up_with_other_settings_of_the_machine(tmp_path):
    deciding = {"gap": 1}
    with (
        pytest.raises(KeyboardInterrupt),
        RunFolder.open(tmp_path, {"gap": 1, "workers": 2}, deciding=deciding) as run,
    ):
        raise KeyboardInterrupt
    with RunFolder.open(tmp_path, {"gap": 1, "workers": 4}, deciding=deciding) as again:
        assert again.path == run.path


CRONS = ("0 2 * * 1", "*/5 * * * *", "0 0 1,15 * *", "0 9-17 * * mon-fri", "17 * * JAN 0", "0 0 * * 7", "0 2 29 feb *")
NO_CRONS = (
    "",
    "hourly",
    "0 25 * * *",
    "60 * * * *",
    "* * * *",
    "* * * * * *",
    "0 2 * * 8",
    "*/0 * * * *",
    "5-1 * * * *",
    "a * * * *",
    "0 2 * * mo",
    "-1 * * * *",
    "0,, * * * *",
    "0 2 31 2 *",
    "0 2 30-31 feb 1",
    "0 0 31 4,jun,9/2 *",
)


@pytest.mark.parametrize("cron", CRONS)
def test_schedules_are_accepted(cron):
    assert ServeSettings(cron=cron, watch_cron=cron, timezone="Europe/Zurich").cron == cron
    from prefect.server.schemas.schedules import CronSchedule

    # Prefect's scheduler fails at an expression that never comes true.
    assert asyncio.run(CronSchedule(cron=cron, timezone="Europe/Zurich").get_dates(1))


@pytest.mark.parametrize("cron", NO_CRONS)
@pytest.mark.parametrize("field", ["cron", "watch_cron", "collect_cron"])
def test_wrong_schedules_are_refused_where_they_are_set(cron, field):
    with pytest.raises(ValidationError, match="cron"):
        ServeSettings(**{field: cron})


@pytest.mark.parametrize(
    "timezone", ["", "Mars/Olympus", "CET+25", "../etc/passwd", "/etc/localtime", "Europe", "UTC\n"]
)
def test_wrong_time_zones_are_refused(timezone):
    with pytest.raises(ValidationError, match="time zone"):
        ServeSettings(timezone=timezone)


def test_a_user_without_home_has_a_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "~")
    assert cache_dir("dft").is_absolute()


@LINUX
@pytest.mark.parametrize("closed", ["stdout", "stderr", "stdin"])
def test_a_closed_stream_gives_no_traceback(closed, tmp_path):
    number = {"stdin": 0, "stdout": 1, "stderr": 2}[closed]
    program = "import sys; from flows.cli.program import main; sys.argv = ['mat2spec', 'settings']; main()"
    script = f'exec "$0" -c "$1" {number}>&-'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, program], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 1}


@LINUX
def test_a_full_stdout_gives_a_sentence():
    program = "import sys; from flows.cli.program import main; sys.argv = ['mat2spec', 'settings']; main()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode != 0
    assert "No space left" in done.stderr


@POSIX
@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT), (signal.SIGHUP, signal.SIGTERM)],
)
def test_a_second_signal_does_not_spoil_the_record(tmp_path, first, second):
    program = (
        "import signal, sys, time\n"
        "from pathlib import Path\n"
        "from flows.commands.exits import end_on_sigterm, hear_interrupts\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # a test that runs under nohup inherits that it is ignored
        "from screening.runs.folder import RunFolder\n"
        "hear_interrupts(); end_on_sigterm()\n"
        "stop = RunFolder.stop\n"
        "def slow(*given):\n"
        "    print('stopping', flush=True); time.sleep(0.5); stop(*given)\n"
        "RunFolder.stop = slow\n"
        "with RunFolder.open(Path(sys.argv[1]), {}) as run:\n"
        "    print('ready', flush=True); time.sleep(30)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(first)
        assert child.stdout.readline() == "stopping\n"
        child.send_signal(second)
        assert child.wait(timeout=20) != 0
    finally:
        child.kill()
    (run,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert RunFolder.attach(run).info["status"] == "interrupted"
    assert not (run / ".open").exists()


@POSIX
def test_signals_wait_and_are_not_lost():
    program = (
        "import os, signal\n"
        "from mat2spec.tables.files import undisturbed\n"
        "try:\n"
        "    with undisturbed():\n"
        "        os.kill(os.getpid(), signal.SIGINT); print('whole', flush=True)\n"
        "    print('lost')\n"
        "except KeyboardInterrupt:\n"
        "    print('heard')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["whole", "heard"]
    with undisturbed():
        pass


@LINUX
def test_a_worker_whose_parent_died_before_it_could_ask_ends():
    program = (
        "import os, time; from dft_validation.engines.limits import *; end_with_parent(started_by()); time.sleep(20)"
    )
    environment = child_environment() | {"STARTED_BY_MAT2SPEC": str(2**22 - 3)}
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=15, check=False)
    assert done.returncode == 1
    assert time.monotonic() - start < 10


def test_folders_of_killed_jobs_are_removed_and_those_of_living_ones_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = (
        "import os, signal, tempfile, sys\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "from dft_validation.jobs.scratch import scratch_folder\n"
        "with scratch_folder() as folder:\n"
        "    (folder / 'x').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=60, check=False)
    (tmp_path / f"{PREFIX}notes").mkdir()
    assert len(list(tmp_path.iterdir())) == 3
    with scratch_folder() as mine:
        assert remove_abandoned_folders() == 2
        assert mine.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [f"{PREFIX}notes"]


@pytest.mark.parametrize("moment", ["before its lock", "while it is removed"])
def test_a_folder_left_without_a_lock_is_removed_once_it_is_no_longer_new(tmp_path, monkeypatch, moment):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"{PREFIX}{dead.pid}-abc"
    left.mkdir()
    if moment == "while it is removed":
        (left / "worker.log").write_text("x")
    assert remove_abandoned_folders() == 0
    an_hour_ago = time.time() - 3600
    os.utime(left, (an_hour_ago, an_hour_ago))
    living = tmp_path / f"{PREFIX}{os.getpid()}-abc"
    living.mkdir()
    os.utime(living, (an_hour_ago, an_hour_ago))
    assert remove_abandoned_folders() == 1
    assert list(tmp_path.iterdir()) == [living]
