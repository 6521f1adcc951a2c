"""What must start at once imports neither torch nor PyTorch Geometric, which take seconds."""

import subprocess
import sys

import pytest

LIGHT = [
    "mat2spec",
    "mat2spec.settings",
    "mat2spec.graphs.settings",
    "mat2spec.training.settings",
    "mat2spec.tables.columns",
    "mat2spec.tables.files",
    "mat2spec.tables.parquet",
    "mat2spec.crystals.arrays",
    "screening.settings",
    "screening.report.tables",
    "dft_validation.settings",
    "flows.settings",
]


def test_settings_and_tables_are_read_without_torch():
    code = (
        f"import sys; [__import__(name) for name in {LIGHT}]; "
        "print(sorted({'torch', 'torch_geometric'} & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["mat2spec.graphs.neighbours", "mat2spec.descriptors.chgnet"])
def test_only_the_batch_and_the_models_need_pytorch_geometric(name):
    code = f"import sys; import {name}; print('torch_geometric' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
