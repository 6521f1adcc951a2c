"""Metals that DFT confirms are computed once more, in a doubled cell with spin."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest
from pymatgen.core import Lattice, Structure

from dft_validation import engines, plan_jobs, run_jobs
from dft_validation.engines.gpaw import GpawEngine
from flows import stages
from flows.settings_layers import load_settings
from flows.stages import classified_results
from flows.stages.second_check import check_again
from mat2spec.crystals.arrays import Crystals
from screening.runs.schemas import TableName, conform
from tests.dft_validation.queue.test_remote import stand_in
from tests.flows.conftest import FAKE_WORKER

NAMES = ["na", "al", "big"]


@pytest.fixture
def crystals():
    structures = [Structure(Lattice.cubic(3.2), [symbol], [[0, 0, 0]]) for symbol in ("Na", "Al")]
    chain = Structure(Lattice.orthorhombic(4, 4, 24), ["Na"] * 5, [[0, 0, z] for z in (0, 0.13, 0.3, 0.5, 0.8)])
    return Crystals.from_structures([*structures, chain], NAMES)


@pytest.fixture
def settings(tmp_path, fake_engine, monkeypatch):
    command = (sys.executable, str(FAKE_WORKER), "ordered", str(fake_engine))
    monkeypatch.setitem(engines._REGISTERED, "fake", GpawEngine(name="fake", worker=command, package="numpy"))
    return load_settings(
        None,
        ["dft.engine=fake", f"dft.cache_dir={tmp_path / 'cache'}", "dft.kpoint_density=60", "dft.second_check=true"],
    )


def confirmed(crystals, settings):
    """Results of the first calculation, all of them hits."""
    jobs = plan_jobs(pd.DataFrame({"material_id": NAMES}), crystals, settings.dft)
    outcomes = run_jobs(jobs, crystals, settings.dft)
    results = classified_results(outcomes, pd.DataFrame({"material_id": NAMES}), settings)
    return results.assign(is_target=pd.array([True] * len(results), dtype="boolean"))


def check(results, crystals, settings):
    def crystals_of(names):
        return crystals.take([NAMES.index(name) for name in names])

    return check_again(results, crystals_of, settings, lambda *_: None)


def test_an_insulator_is_found_and_a_metal_stays_one(crystals, settings, fake_engine):
    results = confirmed(crystals, settings)
    found = check(results, crystals, settings).set_index("material_id")
    assert found.second_check.tolist()[:2] == ["not a metal", "low DOS everywhere"]
    assert found.second_check_band_gap["na"] == pytest.approx(1.5, abs=0.2)
    assert found.second_check_band_gap["al"] == 0
    assert found.false_metal_reason["na"].startswith("gap of 1.")
    assert found.false_metal_risk["na"] == "high"
    assert "odd number" in results.set_index("material_id").false_metal_reason["al"]
    assert "odd number" not in found.false_metal_reason["al"]
    assert "doubled cell of 2 atoms" in found.second_check_reason["na"]
    assert "1.50 Bohr magnetons" in found.second_check_reason["na"]
    assert found.second_check_reason["na"].endswith("Without U, as in the Materials Project.")


def test_what_is_too_large_has_its_reason_and_keeps_its_risk(crystals, settings):
    dft = settings.dft.model_copy(update={"max_atoms": 5, "second_check_cpu_seconds": 40.0})
    settings = settings.model_copy(update={"dft": dft})
    results = confirmed(crystals, settings)
    found = check(results, crystals, settings).set_index("material_id")
    assert found.second_check["big"] == "not computed"
    assert "CPU seconds" in found.second_check_reason["big"]
    assert found.false_metal_reason["big"] == results.set_index("material_id").false_metal_reason["big"]


def test_only_hits_are_checked_once_and_the_table_fits_its_schema(crystals, settings, fake_engine):
    results = confirmed(crystals, settings)
    results.loc[results.material_id != "na", "is_target"] = False
    before = len(list(fake_engine.iterdir()))
    found = check(results, crystals, settings)
    assert len(list(fake_engine.iterdir())) == before + 1
    assert found.second_check.notna().tolist() == [True, False, False]
    pd.testing.assert_frame_equal(found, check(results, crystals, settings))
    assert len(list(fake_engine.iterdir())) == before + 1
    conform(pa.Table.from_pandas(found, preserve_index=False), TableName.DFT_RESULTS)
    results["is_target"] = False
    assert check(results, crystals, settings).second_check.isna().all()


@pytest.fixture
def run_stage(crystals, settings, tmp_path):
    """Run the stage of DFT on a run folder, with other settings if given; metals are what is searched for."""
    jobs = plan_jobs(pd.DataFrame({"material_id": NAMES}), crystals, settings.dft)
    tables = {TableName.DFT_JOBS: jobs, TableName.CANDIDATES: pd.DataFrame({"material_id": NAMES})}
    inputs = SimpleNamespace(
        read=lambda name: tables[name].copy(),
        crystals=lambda names: crystals.take([NAMES.index(name) for name in names]),
        progress=lambda *_: None,
        run=SimpleNamespace(path=tmp_path),
    )

    def run(**changes):
        parts = {"classify": {"target": "is_metal"}, **changes}
        changed = {name: getattr(settings, name).model_copy(update=part) for name, part in parts.items()}
        outcome = stages.run_dft(inputs, settings.model_copy(update=changed))
        return outcome.tables[TableName.DFT_RESULTS].set_index("material_id")

    return run


def test_the_stage_checks_again_only_if_asked(run_stage):
    assert run_stage().second_check["na"] == "not a metal"
    assert "second_check" not in run_stage(dft={"second_check": False})


def test_checks_are_not_submitted_to_another_machine_but_computed_here_later(run_stage, monkeypatch):
    machine = stand_in(monkeypatch)
    assert run_stage(remote={"submit": True}).empty
    machine.run()
    there = run_stage(remote={"submit": True})
    assert there.second_check.tolist() == ["not computed"] * len(NAMES)
    assert there.second_check_reason["na"].endswith("`mat2spec dft run` computes them here.")
    assert there.second_check_band_gap.isna().all()
    assert "odd number" in there.false_metal_reason["al"]
    assert len(machine.jobs) == len(NAMES)
    assert run_stage().second_check.tolist()[:2] == ["not a metal", "low DOS everywhere"]
