"""A training belongs to one process, and what it resumes from is whole or refused with the name of the file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
import torch

from mat2spec.tables.files import TableError
from mat2spec.tables.locks import FileLock, take_lock
from mat2spec.training.folders import LOCK_FILE, TrainingError, alone_in, load_checkpoint, save_checkpoint
from mat2spec.training.runs import run_training
from mat2spec.training.tight_binding_runs import run_tight_binding
from tests.mat2spec.conftest import labelled
from tests.mat2spec.training.test_loop import quick
from tests.mat2spec.training.test_tight_binding_runs import SMALL, few

__all__ = ["few", "labelled"]  # fixtures

TRAININGS = {
    "network": lambda data, folder: run_training(data, quick(epochs=1), folder),
    "tight binding": lambda data, folder: run_tight_binding(data, SMALL, folder),
}


@pytest.mark.parametrize("train", TRAININGS.values(), ids=TRAININGS)
def test_two_processes_do_not_train_in_one_folder(few, tmp_path, train):
    with alone_in(tmp_path), pytest.raises(TrainingError, match=r"Another process trains in .* another folder"):
        train(few, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


def test_a_training_that_was_killed_leaves_its_folder_free(tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path; from mat2spec.training.folders import alone_in\n"
        "with alone_in(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=120, check=False)
    assert (tmp_path / LOCK_FILE).exists()
    with alone_in(tmp_path):
        pass


def test_the_other_processes_of_a_training_on_several_devices_need_no_lock(tmp_path, monkeypatch):
    monkeypatch.setattr("mat2spec.training.folders.rank_zero_only.rank", 1)
    with alone_in(tmp_path), alone_in(tmp_path):
        assert not list(tmp_path.iterdir())


DAMAGE = {
    "empty": b"",
    "text": b"no checkpoint",
    "cut": None,
    "of another kind": [1, 2],
    "of nothing known": {"a": 1},
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_state_of_a_member_is_a_sentence(few, tmp_path, content):
    path = tmp_path / "member-0.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save({"a": torch.zeros(2000)} if content is None else content, path)
    if content is None:
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"member-0\.pt (is damaged or not a checkpoint|belongs to a training)"):
        run_tight_binding(few, SMALL, tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_checkpoint_that_cannot_be_written_names_its_file_and_keeps_the_last_one(tmp_path, monkeypatch, number):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, {"epoch": 1})

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("mat2spec.tables.files.os.fsync", fail)
    with pytest.raises(TableError, match=r"last\.ckpt"):
        save_checkpoint(path, {"epoch": 2})
    assert load_checkpoint(path) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotImplementedError("FileSystem does not appear to support flock"), "has no locks"),
        (OSError(errno.EROFS, "Read-only file system"), "read-only"),
        (OSError(errno.ENOLCK, "No locks available"), "has no locks"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied"), "No permission"),
    ],
)
def test_a_lock_that_cannot_be_acquired_says_why(tmp_path, monkeypatch, error, words):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(FileLock, "acquire", fail)
    with pytest.raises(TableError, match=words):
        take_lock(tmp_path / ".lock")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_whatever_it_answers(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(TableError, match=r"has no locks.*Choose a folder on another one"):
        take_lock(tmp_path / ".lock")
    monkeypatch.undo()
    take_lock(tmp_path / ".lock").release()
