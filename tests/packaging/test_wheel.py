"""The wheel in an environment of its own, far from the clone: `make wheel` builds it and runs this.

Without a network the wheel is still installed into an empty environment, which borrows the dependencies that are installed
here; with `-m network` two more environments are installed anew from a package index.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
needs_index = pytest.mark.network
TORCH = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
MAX_WHEEL_MB = 100  # what package indices take


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # What setuptools built before would go into the wheel too.
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder)]
    # What builds it is installed here, or comes from an index.
    alone = ["--no-build-isolation"] if find_spec("setuptools") else []
    built = subprocess.run([*pip, *alone, str(ROOT)], capture_output=True, text=True, check=False)
    if built.returncode and not alone:
        pytest.skip(f"setuptools is not installed and cannot be fetched: {built.stderr[-300:]}")
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(
    scope="module",
    params=["borrowed", pytest.param("whole", marks=needs_index), pytest.param("to predict", marks=needs_index)],
)
def environment(request, wheel, tmp_path_factory):
    """An environment that borrows what is installed here, one with all dependencies, one with requirements-predict.txt."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if request.param == "borrowed":
        # Files of this kind in a folder named by another are not read: the clone stays out of sight.
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        install = [folder / "bin" / "python", "-I", "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
        subprocess.run([*install, "--force-reinstall", wheel], check=True)
        return folder
    # -I: what lies in this folder or on PYTHONPATH is not taken for installed.
    install = [folder / "bin" / "python", "-I", "-m", "pip", "install", "-q"]
    subprocess.run([*install, TORCH], check=True)
    constrained = [*install, "-c", ROOT / "constraints.txt"]
    if request.param == "whole":
        subprocess.run([*constrained, wheel], check=True)
    else:
        subprocess.run([*constrained, "-r", ROOT / "requirements-predict.txt"], check=True)
        subprocess.run([*install, "--no-deps", wheel], check=True)
    return folder


def in_environment(environment, folder, *command):
    """Output of a program of the environment that sees nothing of the clone, and its seconds."""
    apart = {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    begin = time.perf_counter()
    done = subprocess.run(
        [environment / "bin" / command[0], *command[1:]],
        cwd=folder,
        env=apart,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, time.perf_counter() - begin


def test_the_wheel_fits_an_index(wheel):
    size_mb = wheel.stat().st_size / 1e6
    print(f"\n{wheel.name}: {size_mb:.1f} MB")
    assert size_mb < MAX_WHEEL_MB


def test_it_predicts(environment, tmp_path, strontium_vanadate_cif):
    (tmp_path / "SrVO3.cif").write_text(strontium_vanadate_cif)
    _, first_s = in_environment(environment, tmp_path, "mat2spec", "--help")
    _, start_s = in_environment(environment, tmp_path, "mat2spec", "--help")
    told, predict_s = in_environment(environment, tmp_path, "mat2spec", "predict", "SrVO3.cif")
    print(f"\nmat2spec --help {start_s:.2f} s (first {first_s:.2f} s), mat2spec predict {predict_s:.1f} s")
    # Words that "not a gapped metal" does not have; lines are wrapped.
    assert "a gapped metal with a gap" in " ".join(told.split())
    assert (tmp_path / "predictions.parquet").exists()


def test_it_screens_the_catalogue_that_it_carries(environment, tmp_path):
    command = ["screen", "--no-dft", "--model", "gatgnn", "--set", "source.limit=500"]
    told, _ = in_environment(environment, tmp_path, "mat2spec", *command)
    assert "Predicted gapped metals" in told
    # Crystals with labels that ship are known, so they are not candidates.
    assert "without a known eDOS" in told
    assert (tmp_path / "results" / "latest" / "report.html").exists()


def test_it_serves_python(environment, tmp_path):
    code = "import mat2spec, flows; print(mat2spec.__version__); print(mat2spec.__file__)"
    told, _ = in_environment(environment, tmp_path, "python", "-c", code)
    version, place = told.split()
    assert version in (ROOT / "pyproject.toml").read_text()
    assert Path(place).is_relative_to(environment)
