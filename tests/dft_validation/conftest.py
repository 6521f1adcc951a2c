"""A fake engine, small crystals and settings that write into a temporary folder."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from dft_validation import DftSettings, engines
from dft_validation.engines.gpaw import GpawEngine
from mat2spec.crystals.arrays import Crystals

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")


class FakeEngine:
    """A registered engine whose child is the fake worker; counts its runs."""

    def __init__(self, folder: Path):
        self.counter = folder
        self.counter.mkdir()

    def use(self, mode: str, worker: tuple[str, ...] | None = None) -> None:
        command = worker or (sys.executable, str(FAKE_WORKER), mode, str(self.counter))
        engines.register_engine(GpawEngine(name="fake", worker=command, package="numpy"))

    @property
    def runs(self) -> int:
        return len(list(self.counter.iterdir()))


@pytest.fixture
def fake_engine(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "_REGISTERED", {})
    engine = FakeEngine(tmp_path / "counter")
    engine.use("ok")
    return engine


@pytest.fixture
def settings(tmp_path):
    return DftSettings(engine="fake", cache_dir=tmp_path / "cache", workers=2, time_limit_s=20, kpoint_density=60)


@pytest.fixture
def crystals():
    structures = [
        Structure(Lattice.cubic(3.0 + 0.1 * index), [symbol], [[0, 0, 0]])
        for index, symbol in enumerate(["Na", "Mg", "Al", "K"])
    ]
    return Crystals.from_structures(structures, ["na", "mg", "al", "k"])


@pytest.fixture
def selection():
    return pd.DataFrame(
        {
            "material_id": ["na", "mg", "al", "k"],
            "selected_as": ["positive:mat2spec", "positive:mat2spec", "random_negative", "random_negative"],
            "rank": [1, 2, 1, 2],
            "inclusion_probability": [1.0, 1.0, 0.1, 0.1],
        }
    )


@pytest.fixture
def rng():
    return np.random.default_rng(7)
