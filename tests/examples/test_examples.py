"""Every example runs as it stands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What an example prints at last, and options that keep it short.
EXAMPLES = {
    "bands_by_tight_binding.py": (["--plot", "bands.png"], "  Seebeck coefficient at 300 K: "),
    "crystals_from_pyg.py": ([], "BaTiO3: "),
    "screen_in_python.py": ([], "3 gapped metals among 3"),
    "own_classifier.py": ([], "W: metal, valley "),
    "graphs_for_your_model.py": (["--epochs", "3"], "epoch 1: mean absolute error"),
}


def test_every_example_is_run():
    assert set(EXAMPLES) == {path.name for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, tmp_path):
    options, expected = EXAMPLES[name]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "examples" / name), *options]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(expected)
