import pandas as pd
import pytest

from flows.cli.program import run
from flows.commands.exits import ExitCode
from mat2spec.benchmark import subclasses
from mat2spec.training.subclass import Subclass
from tests.mat2spec.labels.readers.small_archives import write_edos_archive

SIZES = "model_settings={encoder: {width: 16, n_heads: 2}}"


@pytest.fixture
def archive(tmp_path):
    return str(write_edos_archive(tmp_path))


def test_distorted_structures_are_predicted_and_drawn(archive, tmp_path, capsys):
    output = tmp_path / "out"
    given = ["--data", archive, "--models", "mat2spec", "-n", "3", "-o", str(output)]
    assert run(["benchmark", "distorted", *given]) == ExitCode.DONE
    assert {path.name for path in output.iterdir()} == {"distorted.parquet", "distorted.md", "errors-structures.png"}
    assert pd.read_parquet(output / "distorted.parquet")["material_id"].nunique() <= 3
    assert "rattled by 0.1 A" in capsys.readouterr().out
    assert run(["benchmark", "distorted", *given, "--test-set", "nowhere"]) == ExitCode.FAILED
    assert "There is no test set 'nowhere'" in " ".join(capsys.readouterr().err.split())


def test_ways_of_training_for_a_class_are_compared(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(subclasses, "CLASSES", {"everything": Subclass()})
    output = tmp_path / "out"
    given = ["--data", archive, "--model", "gatgnn", "--epochs", "1", "--set", SIZES, "--device", "cpu"]
    folders = ["--folder", str(tmp_path / "cells"), "-o", str(output)]
    assert run(["benchmark", "subclasses", *given, *folders]) == ExitCode.DONE
    assert {path.name for path in output.iterdir()} == {"subclasses.parquet", "subclasses.md", "errors-subclass.png"}
    assert "| global | tuned | only |" in (output / "subclasses.md").read_text()


def test_origins_are_compared_from_the_table_alone(tmp_path, capsys):
    n = 8
    table = pd.DataFrame(
        {
            "contender": "one",
            "setting": "sumnorm-kl",
            "seed": pd.array([0] * n, dtype="Int64"),
            "n_members": 1,
            "test_set": "test",
            "material_id": [f"mp-{i}" if i % 2 else f"cat-{i}" for i in range(n)],
            "formula": [f"Li{i + 1}O" for i in range(n)],
            "n_elements": 2,
            "n_train_rarest_element": 3,
            "error": [0.2, 0.1] * 4,
        }
    )
    table.to_parquet(tmp_path / "errors.parquet")
    assert run(["benchmark", "pretraining", str(tmp_path / "errors.parquet")]) == ExitCode.DONE
    assert "| one/sumnorm-kl | 0.100 (4) | 0.200 (4) | 2.00" in capsys.readouterr().out
    assert run(["benchmark", "pretraining", str(tmp_path / "missing.parquet")]) == ExitCode.FAILED
