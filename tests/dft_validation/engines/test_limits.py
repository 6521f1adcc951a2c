"""Limits that a worker process sets itself."""

import subprocess
import sys
from pathlib import Path

import pytest

AUTOGROUP = Path("/proc/self/autogroup")
AS_NICE = """
import os
from pathlib import Path
from dft_validation.engines.limits import make_session_as_nice
os.nice(7)
make_session_as_nice()
print(Path("/proc/self/autogroup").read_text())
"""


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not group processes by session")
def test_a_session_is_as_nice_as_its_process():
    told = subprocess.run(
        [sys.executable, "-c", AS_NICE], capture_output=True, text=True, check=True, start_new_session=True
    )
    assert told.stdout.split()[-1] == "7"


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not group processes by session")
def test_the_session_of_someone_else_is_left_alone():
    in_a_session = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {AS_NICE!r}], check=True)"
    told = subprocess.run(
        [sys.executable, "-c", in_a_session], capture_output=True, text=True, check=True, start_new_session=True
    )
    assert told.stdout.split()[-1] == "0"
