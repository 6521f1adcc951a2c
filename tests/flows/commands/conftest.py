"""One finished screen, DFT included, that several tests read."""

from __future__ import annotations

import sys

import pytest

from dft_validation import engines
from dft_validation.engines.gpaw import GpawEngine
from flows import pipeline
from flows.settings_layers import load_settings
from tests.flows.conftest import FAKE_WORKER, make_assignments


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, crystals_path):
    """A run of nineteen rock salts in a folder `results`, which also has `latest`."""
    folder = tmp_path_factory.mktemp("finished")
    counter = folder / "counter"
    counter.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "_REGISTERED", {})
        command = (sys.executable, str(FAKE_WORKER), "ok", str(counter))
        engines.register_engine(GpawEngine(name="fake", worker=command, package="numpy"))
        settings = load_settings(None, make_assignments(folder, crystals_path))
        with pipeline.open_run(settings) as run:
            pipeline.run_stages(
                run, settings, pipeline.stages_of(settings), lambda stage: pipeline.run_stage(stage, run, settings)
            )
    return run
