"""The Prefect flow on a test server: the same tables as the stages, cached tasks, artifacts."""

import json

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows import collect, pipeline
from flows.prefect_runs import artifacts
from flows.screen import FLOW_NAME, screen_gapped_metals
from flows.serve.deployments import DEPLOYMENT_NAME, SCHEDULE_SLUG, screen_deployment
from flows.settings_layers import load_settings
from screening.runs.folder import RunFolder
from screening.runs.schemas import TABLES_OF_A_FUNNEL, TableName
from tests.dft_validation.queue.test_remote import stand_in
from tests.flows.fake_models import flat_spectrum, use_fake_models

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture
def quick(monkeypatch):
    """A model that knows the answers, and a page that nobody draws: for what is not about them."""
    use_fake_models(monkeypatch, lambda material_id, _: flat_spectrum(material_id == "TiN"))
    monkeypatch.setattr("flows.stages.result_page", lambda _: "page")


def artifact_rows(key):
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return json.loads(found[-1].data)


def task_states(flow_run_id):
    with get_client(sync_client=True) as client:
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
    return {run.name: run.state_name for run in runs}


def test_the_flow_writes_tables_and_artifacts(settings, assignments, fake_engine):
    run = RunFolder.attach(stages_path(screen_gapped_metals(set=assignments)))
    assert run.is_finished
    assert all(run.has_table(name) for name in TableName if name not in TABLES_OF_A_FUNNEL)
    names = [stage.name for stage in pipeline.PIPELINE if not {*stage.writes} & {*TABLES_OF_A_FUNNEL}]
    assert list(run.info["stages"]) == names
    assert run.info["stages"]["predict_spectra"]["counts"]["predictions"] == 34

    table = run.read_table(TableName.PRECISION_RECALL)
    rows = artifact_rows(artifacts.PRECISION_RECALL_KEY)
    assert [row["model"] for row in rows] == table["model"].tolist()
    assert list(rows[0]) == ["model", "against", "of", "tp/fp/fn/tn", "precision", "recall", "F1"]
    picks = run.read_table(TableName.PICKS)
    shown = artifact_rows(artifacts.GAPPED_METALS_KEY)
    assert [(row["formula"], row["DFT"]) for row in shown] == list(
        picks[["formula", "dft_verdict"]].itertuples(index=False, name=None)
    )
    assert {row["stage"] for row in artifact_rows(artifacts.STAGES_KEY)} == set(names)
    assert all(row["seconds"] >= 0 for row in artifact_rows(artifacts.STAGES_KEY))
    assert artifact_rows(artifacts.FILTERS_KEY)[0]["remaining"] == 19


def stages_path(path):
    from pathlib import Path

    return Path(path)


def test_a_flow_that_failed_resumes_with_its_finished_tasks_cached(
    quick, settings, assignments, fake_engine, monkeypatch
):
    def fail(*args, **given):
        raise ValueError("classified nothing")

    with monkeypatch.context() as patch:
        patch.setattr("flows.stages.classification.classify_piece", fail)
        state = screen_gapped_metals(set=assignments, return_state=True)
    assert state.is_failed()
    unfinished = next(settings.results_dir.glob("*/run.json"))
    assert json.loads(unfinished.read_text())["status"] == "failed"
    assert "classified nothing" in json.loads(unfinished.read_text())["reason"]

    state = screen_gapped_metals(set=assignments, return_state=True)
    assert state.is_completed()
    assert stages_path(state.result()) == unfinished.parent
    states = task_states(state.state_details.flow_run_id)
    assert states["find_candidates"] == states["predict_spectra"] == "Cached"
    assert states["classify_predictions"] == states["evaluate"] == "Completed"


def test_a_new_run_is_not_served_from_the_cache_of_an_old_one(quick, settings, assignments, fake_engine):
    first, second = (RunFolder.attach(stages_path(screen_gapped_metals(set=assignments))) for _ in range(2))
    assert first.run_id != second.run_id
    assert first.read_arrow(TableName.PREDICTIONS).equals(second.read_arrow(TableName.PREDICTIONS))


def test_without_dft_the_flow_ends_after_the_queue(quick, assignments, fake_engine):
    run = RunFolder.attach(stages_path(screen_gapped_metals(run_dft=False, set=assignments)))
    assert run.is_finished
    assert not run.has_table(TableName.DFT_RESULTS)
    assert list(fake_engine.iterdir()) == []


def test_the_deployment_has_name_schedule_and_settings(assignments):
    settings = load_settings(None, [*assignments, "serve.schedule_active=true", "serve.cron=0 3 * * 2"])
    deployment = screen_deployment(settings)
    assert (deployment.flow_name, deployment.name) == (FLOW_NAME, DEPLOYMENT_NAME)
    assert FLOW_NAME == DEPLOYMENT_NAME == "screen-gapped-metals"
    (schedule,) = deployment.schedules
    assert (schedule.schedule.cron, schedule.active, schedule.slug) == ("0 3 * * 2", True, SCHEDULE_SLUG)
    assert deployment.parameters == {
        "source": str(settings.source.path),
        "limit": None,
        "only_new": False,
        "run_dft": True,
    }
    deployment.apply()
    with get_client(sync_client=True) as client:
        assert client.read_deployment_by_name(f"{FLOW_NAME}/{DEPLOYMENT_NAME}").entrypoint == (
            "flows.screen.screen_gapped_metals"
        )


def test_the_run_and_its_folder_name_each_other(quick, settings, assignments, fake_engine):
    state = screen_gapped_metals(run_dft=False, set=assignments, return_state=True)
    run = RunFolder.attach(stages_path(state.result()))
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(state.state_details.flow_run_id)
    assert flow_run.name == f"screen crystals.parquet {run.info['db_version']}"
    assert f"run:{run.run_id}" in flow_run.tags
    assert run.info["links"]["prefect"]["flow_run_id"] == str(flow_run.id)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"set": ["gap.minwidth=1"]}, "gap.minwidth"),
        ({"set": ["gap.min_width_ev=x"]}, "gap.min_width_ev"),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_run_with_its_name(parameters, field, assignments, tmp_path):
    state = screen_gapped_metals(**{"set": assignments, **parameters}, return_state=True)
    assert state.is_failed()
    assert field in state.message
    assert not (tmp_path / "results").exists()


def test_the_loss_of_the_server_does_not_end_a_run(quick, assignments, fake_engine, monkeypatch):
    def gone(*_, **__):
        raise httpx.ConnectError("All connection attempts failed")

    for name in ("create_progress_artifact", "create_table_artifact", "create_link_artifact"):
        monkeypatch.setattr(artifacts, name, gone)
    assert RunFolder.attach(stages_path(screen_gapped_metals(set=assignments))).is_finished


def test_the_state_of_a_run_says_for_how_many_jobs_it_waits(quick, assignments, fake_engine, monkeypatch):
    machine = stand_in(monkeypatch)
    assignments = [*assignments, "remote.submit=true"]
    state = screen_gapped_metals(set=assignments, return_state=True)
    n = len(machine.jobs)
    assert (state.name, state.is_completed()) == (f"Waiting for {n} jobs", True)
    run = RunFolder.attach(stages_path(state.result()))

    machine.run()
    collect.collect_run(run.path, load_settings(None, assignments))
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(state.state_details.flow_run_id)
    assert (flow_run.state.name, flow_run.state.message) == ("Completed", "All DFT jobs have been collected.")
