"""A small table of crystals, a fake DFT engine and settings that write into a temporary folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prefect.testing.utilities import prefect_test_harness
from pymatgen.core import Lattice, Structure

from dft_validation import engines
from dft_validation.engines.gpaw import GpawEngine
from flows.commands.terminal import console
from flows.settings_layers import load_settings

FAKE_WORKER = Path(__file__).parents[1] / "dft_validation" / "fake_worker.py"
CATIONS = ("Na", "K", "Mg", "Ca", "Ti", "V", "Nb", "Sr")


def rock_salt(cation, anion, a=5.0):
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(a), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ).get_primitive_structure()


def crystals_table():
    """Sixteen rock salts, one whose atoms overlap, one that is far above the hull, one with a band gap."""
    structures = {f"{c}{a}": rock_salt(c, a) for c in CATIONS for a in ("O", "N")}
    structures["overlap"] = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.001, 0, 0]])
    structures["unstable"] = rock_salt("Li", "F")
    structures["insulator"] = rock_salt("Li", "Cl")
    n = len(structures)
    hull, gap = [0.0] * n, [0.0] * n
    hull[list(structures).index("unstable")] = 0.9
    gap[list(structures).index("insulator")] = 6.0
    return pa.table(
        {
            "material_id": list(structures),
            "lattice": [s.lattice.matrix.ravel().tolist() for s in structures.values()],
            "frac_coords": [s.frac_coords.ravel().tolist() for s in structures.values()],
            "atomic_numbers": [list(s.atomic_numbers) for s in structures.values()],
            "energy_above_hull": hull,
            "band_gap": gap,
        }
    )


@pytest.fixture(scope="session")
def crystals_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "crystals.parquet"
    pq.write_table(crystals_table(), path)
    return path


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory):
    """A Prefect server of its own for the tests of a module."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
    with prefect_test_harness(server_startup_timeout=120):
        yield
    patch.undo()


@pytest.fixture
def wide_and_apart(tmp_path, monkeypatch):
    """A wide terminal, so that no sentence is wrapped, and a folder of its own for what commands write."""
    monkeypatch.setattr(console, "width", 400)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fake_engine(tmp_path, monkeypatch):
    """The DFT engine `fake`: a child process that computes cosine bands; returns the folder with a file per run."""
    counter = tmp_path / "counter"
    counter.mkdir()
    monkeypatch.setattr(engines, "_REGISTERED", {})
    command = (sys.executable, str(FAKE_WORKER), "ok", str(counter))
    engines.register_engine(GpawEngine(name="fake", worker=command, package="numpy"))
    return counter


@pytest.fixture
def assignments(tmp_path, crystals_path):
    """What a test would give on the command line."""
    return make_assignments(tmp_path, crystals_path)


def make_assignments(folder, crystals_path):
    """Settings of a small screen that writes into a folder."""
    return [
        "source.kind=parquet",
        f"source.path={crystals_path}",
        f"results_dir={folder / 'results'}",
        "prediction.models=[mat2spec, gatgnn]",
        "prediction.shard_size=5",
        "prediction.device=cpu",
        "prediction.phonon_model=null",
        "selection.max_positives=2",
        "selection.n_random_negatives=2",
        "dft.engine=fake",
        f"dft.cache_dir={folder / 'dft_cache'}",
        "dft.kpoint_density=60",
        "dft.workers=2",
    ]


@pytest.fixture
def settings(assignments):
    return load_settings(None, assignments)
