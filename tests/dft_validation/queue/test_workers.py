"""The queue: results kept, failures as data, nothing run twice, children ended."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from pymatgen.core import Lattice, Structure

from dft_validation import EdosMaker, plan_jobs, results_table, run_jobs, update_jobs
from dft_validation.results.cache import DocumentCache
from mat2spec.crystals.cell import cell_of
from mat2spec.crystals.identity import structure_hash
from mat2spec.spectra.grids import EDOS_GRID
from screening.settings import GapSettings

ROOT = Path(__file__).resolve().parents[3]


def run_all(selection, crystals, settings, **keywords):
    jobs = plan_jobs(selection, crystals, settings)
    return run_jobs(jobs, crystals, settings, **keywords)


def test_documents_come_in_the_order_of_the_jobs(fake_engine, selection, crystals, settings):
    calls = []
    outcomes = run_all(selection, crystals, settings, on_progress=lambda *call: calls.append(call[1:]))
    assert [outcome.material_id for outcome in outcomes] == ["na", "mg", "al", "k"]
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert fake_engine.runs == 4
    document = outcomes[0]
    # Bands 2 eV apart and 3 eV wide, two states each: one band per 2 eV whatever the details.
    assert EDOS_GRID.integrate(document.edos) == pytest.approx(8, rel=0.15)
    assert (document.engine, document.engine_version, document.functional) == ("fake", "fake-1", "PBE")
    assert document.efermi == document.energy_zero_ev == 0.1


def test_nothing_is_run_twice_and_reading_is_fast(fake_engine, selection, crystals, settings):
    first = run_all(selection, crystals, settings)
    started = time.perf_counter()
    second = run_all(selection, crystals, settings)
    assert time.perf_counter() - started < 1.0
    assert fake_engine.runs == 4
    assert [o.as_dict() for o in second] == [o.as_dict() for o in first]
    run_all(selection, crystals, settings.model_copy(update={"kpoint_density": 100}))
    assert fake_engine.runs == 8


def test_engines_without_a_flow_run_without_atomate2(fake_engine, selection, crystals, settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "atomate2", None)
    monkeypatch.delitem(sys.modules, "dft_validation.jobs.local_flow", raising=False)
    (document,) = run_all(selection[:1], crystals, settings)
    assert (document.material_id, fake_engine.runs) == ("na", 1)


@pytest.mark.parametrize(
    ("mode", "status", "words"),
    [
        ("crash", "crashed", "ended with status 3: Segmentation fault of the fake"),
        ("killed", "killed", "SIGKILL"),
        ("memory", "memory_limit", "memory limit of 4096 MiB"),
        ("truncated", "corrupt_output", "cannot be used"),
        ("nan", "corrupt_output", "not finite"),
        ("nothing", "corrupt_output", "output.json"),
        ("unconverged", "unconverged", "No convergence"),
        ("never_enough", "not_covered", "raise extra_bands"),
    ],
)
def test_a_failure_is_a_row_with_its_reason(fake_engine, selection, crystals, settings, mode, status, words):
    fake_engine.use(mode)
    jobs = plan_jobs(selection[:1], crystals, settings)
    outcomes = run_jobs(jobs, crystals, settings)
    assert outcomes[0].status == status
    assert words in outcomes[0].reason
    assert update_jobs(jobs, outcomes)["status"].tolist() == [status]
    table = results_table(outcomes, GapSettings())
    assert table["edos"][0] is None
    assert table["has_vb_gap"].isna().all()


def test_a_worker_that_cannot_be_started_is_a_row(fake_engine, selection, crystals, settings):
    fake_engine.use("", worker=("/nowhere/gpaw-worker",))
    outcomes = run_all(selection, crystals, settings)
    assert {outcome.status for outcome in outcomes} == {"engine_unavailable"}
    assert "/nowhere/gpaw-worker" in outcomes[0].reason


def test_the_time_limit_ends_one_job_and_the_others_go_on(fake_engine, selection, crystals, settings):
    fake_engine.use("busy_sodium")
    limited = settings.model_copy(update={"time_limit_s": 2.0})
    outcomes = run_all(selection, crystals, limited)
    assert [getattr(outcome, "status", "ok") for outcome in outcomes] == ["time_limit", "ok", "ok", "ok"]
    assert "2 s of CPU time" in outcomes[0].reason
    assert not [child for child in psutil.Process().children(recursive=True) if "fake_worker" in str(child.cmdline())]


def test_a_job_that_hangs_is_the_fault_of_the_machine_and_is_tried_again(
    fake_engine, selection, crystals, settings, monkeypatch
):
    monkeypatch.setattr("dft_validation.engines.child._HANG_FACTOR", 0.1)
    fake_engine.use("hang_sodium")
    outcome = run_all(selection[:1], crystals, settings)[0]
    assert outcome.status == "killed"
    assert "machine is overloaded or the job hung" in outcome.reason
    fake_engine.use("ok")
    assert run_all(selection[:1], crystals, settings)[0].cpu_seconds == 2.0


def test_too_few_bands_are_computed_again_with_more(fake_engine, selection, crystals, settings):
    fake_engine.use("few_bands")
    document = run_all(selection[:1], crystals, settings)[0]
    assert fake_engine.runs == 2
    assert document.covered_to_ev > EDOS_GRID.edges[-1]
    assert document.cpu_seconds == 4.0


def test_permanent_failures_are_remembered_and_transient_ones_are_not(fake_engine, selection, crystals, settings):
    one = selection[:1]
    fake_engine.use("unconverged")
    run_all(one, crystals, settings)
    run_all(one, crystals, settings)
    assert fake_engine.runs == 1
    run_all(one, crystals, settings.model_copy(update={"retry_failed": True}))
    assert fake_engine.runs == 2
    fake_engine.use("crash")
    run_all(selection[1:2], crystals, settings)
    fake_engine.use("ok")
    assert run_all(selection[1:2], crystals, settings)[0].cpu_seconds == 2.0


def test_a_time_limit_is_tried_again_when_it_is_raised(fake_engine, selection, crystals, settings):
    one = selection[:1]
    fake_engine.use("busy_sodium")
    assert run_all(one, crystals, settings.model_copy(update={"time_limit_s": 1.0}))[0].status == "time_limit"
    assert run_all(one, crystals, settings.model_copy(update={"time_limit_s": 0.5}))[0].status == "time_limit"
    assert fake_engine.runs == 1
    fake_engine.use("ok")
    assert run_all(one, crystals, settings)[0].cpu_seconds == 2.0


def test_a_corrupt_cache_file_is_computed_again(fake_engine, selection, crystals, settings):
    run_all(selection[:1], crystals, settings)
    (path,) = settings.cache_dir.glob("??/*.json")
    path.write_text(path.read_text()[:100])
    document = run_all(selection[:1], crystals, settings)[0]
    assert document.cpu_seconds == 2.0
    assert fake_engine.runs == 2
    assert path.with_suffix(".corrupt").exists()


def test_two_runs_on_one_cache_share_the_work(fake_engine, selection, crystals, settings):
    fake_engine.use("slow")
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(run_all(selection, crystals, settings))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fake_engine.runs == 4
    assert [[o.material_id for o in outcomes] for outcomes in results] == [["na", "mg", "al", "k"]] * 2


def test_an_exception_in_the_callers_progress_keeps_what_is_finished(fake_engine, selection, crystals, settings):
    def fail(*_):
        raise RuntimeError("the terminal is gone")

    with pytest.raises(RuntimeError, match="the terminal is gone"):
        run_all(selection, crystals, settings.model_copy(update={"workers": 1}), on_progress=fail)
    before = fake_engine.runs
    assert before <= 3
    kept = len(list(DocumentCache(settings.cache_dir).documents()))
    assert kept >= 1
    assert len(run_all(selection, crystals, settings)) == 4
    assert fake_engine.runs == before + 4 - kept


INTERRUPTED_RUN = """
    import sys
    import pandas as pd
    from pymatgen.core import Lattice, Structure
    from dft_validation import DftSettings, plan_jobs, register_engine, run_jobs
    from dft_validation.engines.gpaw import GpawEngine
    from mat2spec.crystals.arrays import Crystals

    register_engine(GpawEngine(name="fake", worker=(sys.executable, {worker!r}, "hang_sodium", {counter!r}), package="numpy"))
    structures = [Structure(Lattice.cubic(3 + i / 10), [s], [[0, 0, 0]]) for i, s in enumerate(["Mg", "Na"])]
    crystals = Crystals.from_structures(structures, ["mg", "na"])
    settings = DftSettings(engine="fake", cache_dir={cache!r}, workers=1, kpoint_density=60)
    jobs = plan_jobs(pd.DataFrame({{"material_id": ["mg", "na"]}}), crystals, settings)
    run_jobs(jobs, crystals, settings, on_progress=lambda *_: print("done", flush=True))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_kill_end_the_children_and_keep_what_is_finished(fake_engine, settings, how):
    counter, cache = str(fake_engine.counter), str(settings.cache_dir)
    worker = str(Path(__file__).parents[1] / "fake_worker.py")
    script = textwrap.dedent(INTERRUPTED_RUN).format(worker=worker, counter=counter, cache=cache)
    run = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout.readline() == b"done\n"
    deadline = time.monotonic() + 20
    while fake_engine.runs < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    children = psutil.Process(run.pid).children(recursive=True)
    assert len(children) == 1
    os.kill(run.pid, how)
    run.communicate(timeout=20)
    assert run.returncode != 0
    if how == signal.SIGINT:
        # If only the parent is killed, the kernel ends the real worker, which asks for that; the fake one does not.
        assert not psutil.wait_procs(children, timeout=5)[1]
    else:
        for child in children:
            child.kill()
    assert len(list(DocumentCache(settings.cache_dir).documents())) == 1


@pytest.mark.usefixtures("fake_engine")
def test_results_table_classifies_with_the_screens_own_rule(selection, crystals, settings):
    outcomes = run_all(selection, crystals, settings)
    table = results_table(outcomes, GapSettings())
    assert table["status"].tolist() == ["ok"] * 4
    assert {"has_vb_gap", "is_gapped_metal", "gap_width_ev", "band_gap", "kpoints", "functional"} <= set(table.columns)
    assert not table.columns.duplicated().any()
    assert table["has_vb_gap"].tolist() == [False] * 4
    assert len(results_table([])) == 0


@pytest.mark.usefixtures("fake_engine")
def test_a_supercell_has_twice_the_states_of_its_primitive_cell(settings):
    from dft_validation import calculate_edos

    single = Structure(Lattice.cubic(3.2), ["Na"], [[0, 0, 0]])
    double = single * (2, 1, 1)
    one, two = (calculate_edos(structure, "x", settings) for structure in (single, double))
    np.testing.assert_allclose(two.edos, 2 * one.edos)
    assert "primitive cell of 1 atoms" in two.notes[0]


@pytest.mark.usefixtures("fake_engine")
def test_the_zero_of_a_metal_is_the_fermi_energy_that_was_asked_for(settings):
    from dft_validation import calculate_edos

    sodium = Structure(Lattice.cubic(3.2), ["Na"], [[0, 0, 0]])
    asked = settings.model_copy(update={"fermi_energy": "tetrahedra"})
    engines, own = (calculate_edos(sodium, "na", chosen) for chosen in (settings, asked))
    assert engines.is_metal
    assert engines.energy_zero_ev == engines.efermi == 0.1
    assert own.energy_zero_ev == own.efermi == own.dos.efermi
    assert 0.0 < abs(own.efermi - 0.1) < 1.5
    assert own.settings_hash != engines.settings_hash


@pytest.mark.usefixtures("fake_engine")
def test_magnetic_elements_are_computed_and_named(settings):
    from dft_validation import calculate_edos

    document = calculate_edos(Structure(Lattice.cubic(2.8), ["Fe"], [[0, 0, 0]]), "fe", settings)
    assert "without spin polarisation, although solids with Fe" in document.notes[0]


@pytest.mark.usefixtures("fake_engine")
def test_the_maker_makes_a_flow_that_survives_json(settings):
    from jobflow import Flow, run_locally
    from jobflow.utils import ValueEnum  # noqa: F401 - jobflow must be importable
    from monty.json import MontyDecoder, MontyEncoder

    flow = EdosMaker.from_settings(settings).make(Structure(Lattice.cubic(3.2), ["Na"], [[0, 0, 0]]), "na")
    again = MontyDecoder().decode(MontyEncoder().encode(flow))
    assert isinstance(again, Flow)
    assert [job.metadata for job, _ in again.iterflow()] == [{"material_id": "na"}]
    response = run_locally(again, log=False, ensure_success=True)[again.output.uuid][1]
    assert response.output.material_id == "na"
    assert response.output.dos.efermi == response.output.efermi


def test_the_structure_hash_ignores_names_and_whole_lattice_vectors():
    cell = cell_of(Structure(Lattice.cubic(3.2), ["Na"], [[0.25, 0, 0]]))
    moved = cell_of(Structure(Lattice.cubic(3.2), ["Na"], [[1.25, -1e-9, 0]]))
    other = cell_of(Structure(Lattice.cubic(3.2), ["Na"], [[0.26, 0, 0]]))
    assert structure_hash(cell) == structure_hash(moved)
    assert structure_hash(cell) != structure_hash(other)
