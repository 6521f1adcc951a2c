"""What is queued, what is not, and why."""

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from dft_validation import DftSettings, plan_jobs, remaining_cpu_seconds, run_jobs
from dft_validation.engines import available_engines, get_engine, register_engine
from dft_validation.engines.gpaw import GpawEngine
from mat2spec.crystals.arrays import Crystals


def plan_of(structures, settings):
    ids = [str(index) for index in range(len(structures))]
    return plan_jobs(pd.DataFrame({"material_id": ids}), Crystals.from_structures(structures, ids), settings)


@pytest.mark.usefixtures("fake_engine")
def test_every_selected_crystal_is_a_row_in_its_place(selection, crystals, settings):
    jobs = plan_jobs(selection, crystals, settings)
    assert jobs["material_id"].tolist() == ["na", "mg", "al", "k"]
    assert jobs["status"].tolist() == ["queued"] * 4
    assert (jobs["estimated_cpu_seconds"] > 0).all()
    assert jobs["settings_hash"].unique().tolist() == [settings.settings_hash]
    assert jobs["inclusion_probability"].tolist() == [1.0, 1.0, 0.1, 0.1]


def disordered(n_atoms):
    """Aluminium atoms about the points of a grid, without any symmetry."""
    per_axis = round(n_atoms ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(per_axis)] * 3), axis=-1).reshape(-1, 3)
    moved = grid + 0.1 * np.random.default_rng(1).random(grid.shape)
    return Structure(Lattice.cubic(3.0 * per_axis), ["Al"] * n_atoms, moved / per_axis)


@pytest.mark.usefixtures("fake_engine")
def test_what_cannot_be_computed_says_so(settings):
    big, huge = disordered(64), disordered(1000)
    structures = [
        Structure(Lattice.cubic(3.5), ["U"], [[0, 0, 0]]),
        big,
        huge,
        Structure(np.diag([3.0, 3.0, 0.01]), ["Al"], [[0, 0, 0]]),
        Structure(Lattice.cubic(3.0), ["Al"], [[0, 0, 0]]),
    ]
    jobs = plan_of(structures, settings)
    assert jobs["status"].tolist() == ["unsupported_element", "too_large", "too_large", "invalid_structure", "queued"]
    assert "no data set for U" in jobs["reason"][0]
    assert "64 atoms, more than max_atoms = 16" in jobs["reason"][1]
    assert "flat lattice" in jobs["reason"][3]


@pytest.mark.usefixtures("fake_engine")
def test_too_costly_by_the_estimate(selection, crystals, settings):
    jobs = plan_jobs(selection, crystals, settings.model_copy(update={"max_estimated_cpu_seconds": 1e-3}))
    assert jobs["status"].unique().tolist() == ["too_large"]
    assert "max_estimated_cpu_seconds = 0.001" in jobs["reason"][0]


@pytest.mark.usefixtures("fake_engine")
def test_a_small_budget_takes_turns_between_positives_and_negatives(selection, crystals, settings):
    jobs = plan_jobs(selection, crystals, settings.model_copy(update={"max_jobs": 2}))
    assert jobs["status"].tolist() == ["queued", "over_budget", "queued", "over_budget"]
    full = plan_jobs(selection, crystals, settings)["estimated_cpu_seconds"]
    enough_for_three = float(full[0] + full[1] + full[2]) + 1e-9
    jobs = plan_jobs(selection, crystals, settings.model_copy(update={"max_cpu_seconds": enough_for_three}))
    assert jobs["status"].tolist() == ["queued", "queued", "queued", "over_budget"]
    assert remaining_cpu_seconds(jobs) == pytest.approx(enough_for_three)


@pytest.mark.usefixtures("fake_engine")
def test_known_results_cost_no_budget(selection, crystals, settings):
    run_jobs(plan_jobs(selection[:2], crystals, settings), crystals, settings)
    jobs = plan_jobs(selection, crystals, settings.model_copy(update={"max_jobs": 2}))
    assert jobs["status"].tolist() == ["queued"] * 4
    assert jobs["reason"].tolist() == ["Known from an earlier run."] * 2 + [""] * 2


def test_a_missing_engine_is_a_row_and_a_sentence(fake_engine, selection, crystals, settings):
    register_engine(GpawEngine(name="fake", package="surely_not_installed"))
    assert "needs a C++ compiler" in available_engines()["fake"]
    jobs = plan_jobs(selection, crystals, settings)
    assert jobs["status"].unique().tolist() == ["engine_unavailable"]
    assert run_jobs(jobs, crystals, settings) == []
    assert fake_engine.runs == 0


def test_unknown_engines_and_crystals_are_refused(fake_engine, selection, crystals, settings):
    with pytest.raises(ValueError, match="choose from elk, fake, gpaw, vasp"):
        get_engine("abacus")
    with pytest.raises(KeyError, match="not among the crystals"):
        plan_jobs(selection.assign(material_id="mp-x"), crystals, settings)


def test_nothing_selected_is_an_empty_plan(crystals):
    jobs = plan_jobs(pd.DataFrame({"material_id": []}), crystals, DftSettings())
    assert len(jobs) == 0
    assert {"status", "reason", "engine", "estimated_cpu_seconds"} <= set(jobs.columns)
