"""What a training survives, and what it refuses."""

import csv
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from mat2spec.models.checkpoints import read_card, read_weights
from mat2spec.spectra.normalisation import Setting
from mat2spec.training import loop
from mat2spec.training.loop import TrainingError, _share_of
from mat2spec.training.runs import run_training
from mat2spec.training.settings import TrainingSettings
from tests.mat2spec.conftest import SMALL_SIZES

QUICK = {
    "model": "gatgnn",
    "model_settings": SMALL_SIZES["gatgnn"],
    "epochs": 5,
    "batch_size": 9,
    "accelerator": "cpu",
    "learning_rate": 3e-3,
}
# Trains on pickled data in a process of its own; argv: data, settings, folder, seconds to wait after an epoch.
CHILD = """
import json, pickle, sys, time
from pathlib import Path
import torch
from mat2spec.training.runs import run_training
from mat2spec.training.settings import TrainingSettings

torch.set_num_threads(1)
data = pickle.loads(Path(sys.argv[1]).read_bytes())
settings = TrainingSettings(**json.loads(sys.argv[2]))
run_training(data, settings, Path(sys.argv[3]), None, lambda line: time.sleep(float(sys.argv[4])))
"""


def quick(**changes):
    return TrainingSettings(**(QUICK | changes))


def start_child(tmp_path, labelled, settings, folder, pause):
    (tmp_path / "data.pickle").write_bytes(pickle.dumps(labelled))
    arguments = [str(tmp_path / "data.pickle"), settings.model_dump_json(), str(folder), str(pause)]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def epochs_in(folder):
    path = folder / "curves.csv"
    return [int(float(row["epoch"])) for row in csv.DictReader(path.open())] if path.is_file() else []


def assert_same_weights(first, second):
    others = read_weights(second)[1]
    for name, tensor in read_weights(first)[1].items():
        torch.testing.assert_close(others[name], tensor, msg=name, equal_nan=True)


def test_kill_9_loses_no_finished_epoch(labelled, tmp_path):
    settings = quick(schedule="cosine")
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    child = start_child(tmp_path, labelled, settings, cut, 0.5)
    deadline = time.monotonic() + 120
    while len(epochs_in(cut)) < 2 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, child.stderr.read()
    done = epochs_in(cut)
    assert 2 <= len(done) < settings.epochs
    gone_on = []
    resumed = run_training(labelled, settings, cut, None, lambda line: gone_on.append(line["epoch"]))
    assert gone_on[0] in {done[-1], done[-1] + 1}
    assert epochs_in(cut) == [1, 2, 3, 4, 5]
    assert_same_weights(resumed, run_training(labelled, settings, whole))


@pytest.mark.slow
def test_two_processes_train_one_model(labelled, tmp_path):
    settings = quick(devices=2, strategy="ddp", epochs=8)
    script = tmp_path / "train.py"
    script.write_text(CHILD)
    (tmp_path / "data.pickle").write_bytes(pickle.dumps(labelled))
    arguments = [str(tmp_path / "data.pickle"), settings.model_dump_json(), str(tmp_path / "run"), "0"]
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert epochs_in(tmp_path / "run") == list(range(1, 9))
    rows = list(csv.DictReader((tmp_path / "run/curves.csv").open()))
    assert float(rows[-1]["valid"]) < float(rows[0]["valid"])
    weights = tmp_path / "run/gatgnn-edos-sumnorm-kl.safetensors"
    assert read_card(weights).metrics["valid"]["n"] == 6
    # What two processes began, one can end.
    assert run_training(labelled, quick(epochs=9), tmp_path / "run") == weights
    assert epochs_in(tmp_path / "run")[-1] == 9


@pytest.mark.parametrize("n", [1, 7, 8])
def test_shares_are_equally_long_and_leave_nobody_out(n):
    shares = [_share_of(np.arange(n), rank, 3) for rank in range(3)]
    assert len({len(share) for share in shares}) == 1
    assert set(np.concatenate(shares).tolist()) == set(range(n))


@pytest.mark.parametrize("model", ["mat2spec", "gatgnn"])
def test_mixed_precision_trains_almost_alike(labelled, tmp_path, model):
    changes = {"model": model, "model_settings": SMALL_SIZES[model], "epochs": 3}
    valid = {}
    for precision in ("32-true", "bf16-mixed"):
        run_training(labelled, quick(precision=precision, **changes), tmp_path / precision)
        rows = list(csv.DictReader((tmp_path / precision / "curves.csv").open()))
        valid[precision] = [float(row["valid"]) for row in rows]
    np.testing.assert_allclose(valid["bf16-mixed"], valid["32-true"], rtol=0.1)
    assert valid["bf16-mixed"] != valid["32-true"]


def test_a_training_that_stopped_early_is_not_resumed(labelled, tmp_path):
    settings = quick(epochs=30, patience=1, learning_rate=1.0)
    run_training(labelled, settings, tmp_path)
    stopped = epochs_in(tmp_path)
    assert len(stopped) < 30
    run_training(labelled, settings, tmp_path)
    assert epochs_in(tmp_path) == stopped
    run_training(labelled, settings.model_copy(update={"patience": 2}), tmp_path)
    assert len(epochs_in(tmp_path)) > len(stopped)


def test_curves_come_as_a_table_and_a_picture(labelled, tmp_path):
    run_training(labelled, quick(epochs=2), tmp_path)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list(next(csv.DictReader((tmp_path / "curves.csv").open()))) == ["epoch", "prediction", "valid", "seconds"]


def test_what_a_killed_process_was_writing_is_removed(labelled, tmp_path):
    (tmp_path / ".last.ckpt.abc.partial").write_bytes(b"half")
    run_training(labelled, quick(epochs=1), tmp_path)
    assert not list(tmp_path.glob(".*.partial"))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_damaged_checkpoint_is_a_sentence(labelled, tmp_path, content):
    run_training(labelled, quick(epochs=1), tmp_path)
    path = tmp_path / "last.ckpt"
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(TrainingError, match=r"last\.ckpt is damaged or not a checkpoint .* remove it"):
        run_training(labelled, quick(epochs=2), tmp_path)


def test_checkpoint_of_another_model_is_refused_and_kept(labelled, tmp_path):
    run_training(labelled, quick(epochs=1), tmp_path)
    before = (tmp_path / "last.ckpt").read_bytes()
    other = quick(model="mat2spec", model_settings=SMALL_SIZES["mat2spec"])
    with pytest.raises(TrainingError, match="checkpoint of another training"):
        run_training(labelled, other, tmp_path)
    assert (tmp_path / "last.ckpt").read_bytes() == before


def test_a_loss_that_is_not_finite_stops_and_loses_nothing(labelled, tmp_path, monkeypatch):
    run_training(labelled, quick(epochs=2), tmp_path)
    before = (tmp_path / "last.ckpt").read_bytes()
    monkeypatch.setattr("mat2spec.training.loop.validation_loss", lambda *_: float("nan"))
    with pytest.raises(TrainingError, match="validation loss of epoch 3 is nan; lower the learning rate"):
        run_training(labelled, quick(epochs=4), tmp_path)
    assert (tmp_path / "last.ckpt").read_bytes() == before
    assert epochs_in(tmp_path) == [1, 2]


def bad_label(labelled, value):
    spectra = labelled.spectra.copy()
    spectra[np.flatnonzero(labelled.split == "train")[3]] = value
    return replace(labelled, spectra=spectra)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "non-finite"), (0.0, "1 spectra are zero everywhere")])
def test_bad_labels_that_reach_the_training_are_a_sentence(labelled, tmp_path, value, message):
    with pytest.raises(ValueError, match=message):
        run_training(bad_label(labelled, value), quick(), tmp_path)


def test_scale_model_learns_from_a_spectrum_of_zeros(labelled, tmp_path):
    path = run_training(bad_label(labelled, 0.0), quick(setting=Setting.STANDARD_MAE, epochs=1), tmp_path)
    assert np.isfinite(list(read_card(path).metrics["valid"].values())).all()


def test_batch_of_one_is_a_sentence_in_training(labelled, tmp_path):
    with pytest.raises(TrainingError, match="A batch of one crystal has no statistics"):
        run_training(labelled, quick(batch_size=1), tmp_path)
    one = np.concatenate([np.flatnonzero(labelled.split == "train")[:1], np.flatnonzero(labelled.split != "train")])
    with pytest.raises(TrainingError, match="1 spectra to train on and 6 to validate; at least two of each"):
        run_training(labelled.take(one), quick(), tmp_path)


@pytest.mark.parametrize("model", ["mat2spec", "gatgnn"])
def test_two_crystals_of_each_are_enough(labelled, tmp_path, model):
    few = np.concatenate([np.flatnonzero(labelled.split == name)[:n] for name, n in (("train", 2), ("valid", 2))])
    settings = quick(model=model, model_settings=SMALL_SIZES[model], epochs=1)
    path = run_training(labelled.take(few), settings, tmp_path)
    assert read_card(path).training["materials"] == {"train": 2, "valid": 2, "test": 0}


@pytest.mark.parametrize(("times", "place"), [(2, "left"), (20, "moved")])
def test_graphs_are_kept_on_a_gpu_if_they_take_only_a_part_of_its_memory(labelled, monkeypatch, times, place):
    n_bytes = sum(tensor.nbytes for tensor in labelled.graphs.to_dict().values())
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (times * n_bytes, 100 * n_bytes))
    monkeypatch.setattr(type(labelled.graphs), "to", lambda *_: "moved")
    expected = {"left": labelled.graphs, "moved": "moved"}[place]
    assert loop._on_device(labelled.graphs, torch.device("cuda")) is expected
    assert loop._on_device(labelled.graphs, torch.device("cpu")) is labelled.graphs


def test_more_devices_than_crystals_are_refused(labelled, tmp_path):
    few = np.concatenate([np.flatnonzero(labelled.split == name)[:2] for name in ("train", "valid")])
    with pytest.raises(TrainingError, match="2 spectra to train on and 3 devices"):
        run_training(labelled.take(few), quick(devices=3), tmp_path)
