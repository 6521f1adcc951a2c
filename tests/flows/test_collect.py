"""A run whose DFT another machine computes: submitted once, collected until none is left, tables kept up to date."""

import json
import shutil
from contextlib import closing

import pytest

from dft_validation.queue.store import QUEUE_FILE, JobQueue
from dft_validation.results.outcomes import JobStatus
from flows import collect, pipeline, stages
from flows.settings_layers import load_settings
from flows.stages.remote_jobs import waiting_jobs
from screening.report.result_page import PAGE_FILE
from screening.runs.folder import RunFolder
from screening.runs.schemas import TableName
from tests.dft_validation.queue.test_remote import stand_in
from tests.flows.fake_models import flat_spectrum, use_fake_models

# Little to evaluate: what travels between the machines is tested.
QUICK = (
    "evaluation.n_draws=100",
    "evaluation.curve_threshold_factors=[1.0]",
    "evaluation.curve_top_min_ev=[-1.0]",
    "evaluation.curve_min_width_ev=[1.0]",
)


@pytest.fixture
def machine(monkeypatch):
    machine = stand_in(monkeypatch)
    use_fake_models(monkeypatch, lambda material_id, _: flat_spectrum(material_id in {"TiN", "VN"}))
    monkeypatch.setattr(stages, "result_page", lambda _: "page")
    shown = []
    monkeypatch.setattr(collect.artifacts, "publish", lambda run: shown.append(run.run_id))
    monkeypatch.setattr(collect, "announce_picks", lambda run: shown.append("picks"))
    machine.shown = shown
    return machine


def test_a_run_hands_its_jobs_over_and_is_completed_by_the_collection(machine, assignments, fake_engine):
    settings = load_settings(None, [*assignments, *QUICK, "remote.submit=true"])
    with pipeline.open_run(settings) as run:
        pipeline.run_stages(run, settings, pipeline.PIPELINE, lambda stage: pipeline.run_stage(stage, run, settings))
    run = RunFolder.attach(run.path)
    n = run.info["stages"]["run_dft"]["counts"]["waiting"]
    assert n == waiting_jobs(run.path) == len(machine.jobs) > 1
    assert run.is_finished
    assert (run.read_table(TableName.DFT_JOBS)["status"] == "submitted").sum() == n
    assert list(fake_engine.iterdir()) == []

    # Some have finished: the tables are brought up to date, and nothing is submitted twice.
    rest, machine.jobs = machine.jobs[1:], machine.jobs[:1]
    machine.run()
    machine.jobs += rest
    sentence = f"Run {run.run_id}: 1 DFT jobs collected, 0 submitted, {n - 1} still waited for."
    damaged = run.path.with_name("20000101T000000Z-damaged0")
    shutil.copytree(run.path, damaged)
    info = json.loads((damaged / "run.json").read_text())
    (damaged / "run.json").write_text(json.dumps(info | {"run_id": damaged.name}))
    (damaged / QUEUE_FILE).write_bytes(b"no database" * 100)
    sentences, problems = collect.collect_all(settings)
    assert sentences == [sentence]
    assert [damaged.name in problem for problem in problems] == [True]
    shutil.rmtree(damaged)
    assert len(run.read_table(TableName.DFT_RESULTS)) == 1
    assert len(machine.jobs) == n
    assert machine.shown == [run.run_id]

    machine.run()
    assert f"{n - 1} DFT jobs collected, 0 submitted, 0 still" in collect.collect_run(run.path, settings)
    assert machine.shown == [run.run_id, run.run_id, "picks"]
    assert len(run.read_table(TableName.DFT_RESULTS)) == n
    assert "submitted" not in {*run.read_table(TableName.DFT_JOBS)["status"]}
    assert collect.collect_all(settings) == ([], [])
    assert (run.path / PAGE_FILE).exists()


def test_a_run_that_is_being_worked_on_is_left_alone(machine, assignments, fake_engine):
    settings = load_settings(None, [*assignments, *QUICK, "remote.submit=true"])
    with pipeline.open_run(settings) as run:
        assert "is being worked on" in collect.collect_run(run.path, settings)


def test_what_is_retried_is_handed_over_again_and_a_killed_collection_is_repeated(
    machine, assignments, fake_engine, monkeypatch
):
    settings = load_settings(None, [*assignments, *QUICK, "remote.submit=true"])
    with pipeline.open_run(settings) as run:
        pipeline.run_stages(run, settings, pipeline.PIPELINE, lambda stage: pipeline.run_stage(stage, run, settings))
    n = len(machine.jobs)
    machine.run(state="FAILED", error="node lost")
    (sentence,), _ = collect.collect_all(settings)
    assert f"{n} DFT jobs collected, 0 submitted, 0 still" in sentence
    assert collect.collect_all(settings) == ([], [])

    with closing(JobQueue(run.path / QUEUE_FILE)) as queue:
        assert queue.retry([JobStatus.CRASHED]) == n
    (sentence,), _ = collect.collect_all(settings)
    assert f"0 DFT jobs collected, {n} submitted, {n} still" in sentence
    assert len(machine.jobs) == 2 * n

    machine.run()
    with monkeypatch.context() as patch:
        patch.setattr(collect.pipeline, "run_stage", dies_after(collect.pipeline.run_stage))
        with pytest.raises(KeyboardInterrupt):
            collect.collect_all(settings)
    assert waiting_jobs(run.path) == 0
    (sentence,), _ = collect.collect_all(settings)
    assert "0 DFT jobs collected, 0 submitted, 0 still" in sentence
    assert RunFolder.attach(run.path).is_finished
    assert len(RunFolder.attach(run.path).read_table(TableName.DFT_RESULTS)) == n
    assert len(machine.jobs) == 2 * n
    assert collect.collect_all(settings) == ([], [])


def dies_after(run_stage):
    """Stop as soon as the jobs have been collected."""

    def run_and_die(stage, run, settings):
        run_stage(stage, run, settings)
        raise KeyboardInterrupt

    return run_and_die
