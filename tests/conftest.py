"""Settings of all tests: which are skipped here; nothing touches a user's own Prefect or cache."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
from hypothesis import settings

from flows.commands.exits import hear_interrupts

# A program, not a module: looking for doctests would start it.
collect_ignore = ["dft_validation/fake_worker.py"]

# Before numpy and torch are imported: two cores are shared by everything that runs here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


# The first example of a property pays for late imports, and any example for what else the machine does.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


def pytest_configure():
    """Let programs under test hear Ctrl-C, also where the tests run in the background of a script."""
    hear_interrupts()


def pytest_collection_modifyitems(config, items):
    """Skip what this machine cannot run, and the network unless it is requested by `-m network`."""
    reasons = {
        "gpu": None if _has_gpu(items) else "no GPU here",
        "dft": None if find_spec("gpaw") else "GPAW is not installed (make setup with a C++ compiler installs it)",
        "network": None if "network" in (config.option.markexpr or "") else "run with -m network",
    }
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def _has_gpu(items):
    if not any(item.get_closest_marker("gpu") for item in items):
        return False
    import torch

    return torch.cuda.is_available()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path_factory):
    """No setting of the person who runs the tests, and a cache of DFT results of the tests' own."""
    for name in list(os.environ):
        if name.startswith("MAT2SPEC_") and name != "MAT2SPEC_DATA_DIR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
