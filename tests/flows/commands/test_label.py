"""`mat2spec label` from the command line: choose, label, collect, take over a screen's DFT."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows import pipeline
from flows.cli.program import run
from flows.commands.screen import screen
from mat2spec.labels.edos_store import LATER_COLUMNS, read_edos_store
from tests.mat2spec.labels.readers.test_data_folder import SPLIT_SALTS, edos_store

pytestmark = pytest.mark.usefixtures("wide_and_apart")

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    monkeypatch.delenv("MAT2SPEC_DATA_DIR", raising=False)


@pytest.fixture
def label(assignments, tmp_path, capfd):
    """Runs the command on the small source with the fake engine; returns exit code, output and errors."""
    options = [word for assignment in assignments for word in ("--set", assignment)]

    def say(*arguments):
        capfd.readouterr()
        code = run(["label", *options, "--store", str(tmp_path / "store.parquet"), *arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return say


def labels(tmp_path):
    return read_edos_store(tmp_path / "store.parquet").to_pylist()


def runs(fake_engine):
    return len(list(fake_engine.iterdir()))


def test_the_help_teaches_without_loading_anything_heavy():
    code = (
        "import sys; from flows.cli.program import run; run(['label', '--help']); run(['train', 'edos', '--help']);"
        "print('imported', sorted({'torch', 'pymatgen', 'numpy', 'pyarrow', 'pandas'} & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "mat2spec label --from-run latest" in answer.stdout
    assert "mat2spec train edos --store" in answer.stdout
    assert answer.stdout.splitlines()[-1] == "imported []"


def test_label_collect_and_label_again(fake_engine, label, tmp_path):
    code, out, _ = label("--n", "2", "--choice", "gapped", "--workers", "2")
    assert code == 0
    assert "no list of reserved materials" in out
    assert "2 labels in" in out
    assert "1800 materials per core-hour" in out
    chosen = [row["material_id"] for row in labels(tmp_path)]
    assert len(chosen) == 2
    assert {row["selected_as"] for row in labels(tmp_path)} == {"gapped"}
    code, out, _ = label("--n", "3")
    assert (code, len(labels(tmp_path))) == (0, 5)
    (tmp_path / "store.parquet").unlink()
    code, out, _ = label("--collect-only")
    assert code == 0
    assert "5 labels in" in out
    assert "14 have not been computed yet" in out
    assert len(labels(tmp_path)) == 5
    assert runs(fake_engine) == 5


def test_given_crystals_but_for_the_reserved(fake_engine, label, tmp_path):
    (tmp_path / "ids.txt").write_text("NaO\nKO\noverlap\n")
    (tmp_path / "reserved.txt").write_text("KO\n")
    code, out, _ = label("--ids", "ids.txt", "--reserved", "reserved.txt")
    assert code == 0
    assert "no list" not in out
    assert "Left out: 1 (reserved)." in out
    assert "NaO" in [row["material_id"] for row in labels(tmp_path)]
    assert "KO" not in [row["material_id"] for row in labels(tmp_path)]


def test_the_dft_of_a_screen_becomes_labels(fake_engine, settings, label, tmp_path):
    folder = screen(settings)
    computed = folder.read_table("dft_results")
    code, out, _ = label("--from-run", "latest")
    assert code == 0
    assert f"{len(computed)} labels of the screen {folder.run_id} are new" in out
    rows = {row["material_id"]: row for row in labels(tmp_path)}
    assert set(rows) == set(computed["material_id"])
    row = next(iter(rows.values()))
    assert row["selected_as"] == "screen"
    assert json.loads(row["versions"])["python"]
    assert row["settings_hash"] == settings.dft.settings_hash
    # What the cache holds of the same jobs is the same label.
    label("--collect-only", "--store", "collected.parquet")
    for collected in read_edos_store(tmp_path / "collected.parquet").to_pylist():
        ours = rows[collected["material_id"]]
        differing = {name for name in ours if ours[name] != collected[name]}
        of_documents_only = set(LATER_COLUMNS) - {"structure_hash", "level", "kpoint_density"}
        assert differing <= {"selected_as", "versions"} | of_documents_only
    code, out, _ = label("--from-run", folder.run_id)
    assert "0 labels of the screen" in out


def test_a_screen_without_dft_gives_a_sentence(fake_engine, settings, label, crystals_path, tmp_path):
    with pipeline.open_run(settings) as folder:
        pipeline.run_stage(pipeline.BY_NAME["find_candidates"], folder, settings)
    code, _, err = label("--from-run", str(folder.path))
    assert (code, "has no DFT results" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--ids", "nothing.txt"], "The list of crystals nothing.txt cannot be read"),
        (["--ids", "empty.txt"], "is empty; write one material_id per line"),
        (["--choice", "best"], "'label.choice' cannot be 'best'"),
        (["--reserved", "nothing.txt"], "There is no list of reserved materials at nothing.txt"),
        (["--from-run", "nothing"], "There is no run or table 'nothing'"),
    ],
)
def test_wrong_use_gives_a_sentence(label, tmp_path, arguments, sentence):
    (tmp_path / "empty.txt").write_text("\n")
    code, _, err = label(*arguments)
    assert code == 1
    assert sentence in err


def test_training_needs_no_data_folder(tmp_path):
    salts = [salt for split in ("train", "valid", "test") for salt in SPLIT_SALTS[split]]
    edos_store(tmp_path / "store.parquet", [f"cat-{i}" for i in range(len(salts))], salts)
    options = ["epochs=1", "accelerator=cpu", "model=gatgnn", "model_settings={encoder: {width: 16, n_heads: 2}}"]
    sets = [word for option in options for word in ("--set", option)]
    code = run(["train", "edos", "--store", "store.parquet", "--no-shipped-store", "--folder", "run", *sets])
    assert code == 0
    assert (tmp_path / "run" / "gatgnn-edos-sumnorm-kl.safetensors").exists()
