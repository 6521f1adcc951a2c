"""Deployments to a work pool of a real server: parameters, limits, messages that arrive, and a worker that runs one."""

import json
import os
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import httpx
import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.settings import PREFECT_API_URL
from prefect.states import Failed

from flows.parameters import SERVED_VARIABLE
from flows.prefect_runs import announcements
from flows.prefect_runs.flow_runs import turn
from flows.serve import notifications, pool
from flows.settings_layers import given_settings, load_settings
from screening.runs.folder import RunFolder
from screening.runs.schemas import TableName
from tests.flows.serve.webhook import webhook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("prefect_server")]

ROOT = Path(__file__).parents[3]
GIVEN = ["source.kind=materials-project", "source.limit=50", "dft.elk_command=/opt/elk", "serve.schedule_active=true"]
SCREEN, WATCH = "screen-gapped-metals/screen-gapped-metals", "watch-releases/watch-releases"
IMAGE = "lab.example/mat2spec:1"
WORKER_KINDS = "collections_data/views/aggregate-worker-metadata.json"
PATIENCE_S = 120


@pytest.fixture(scope="module")
def desk(prefect_server):
    """A work pool of processes."""
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="desk", type="process"))
    return "desk"


@pytest.fixture(scope="module")
def deployed(desk):
    """Address of the screen in that pool, for requests without any client of Prefect's."""
    pool.deploy(load_settings(None, GIVEN), given_settings(None, GIVEN), desk)
    api = PREFECT_API_URL.value()
    return f"{api}/deployments/{httpx.get(f'{api}/deployments/name/{SCREEN}').json()['id']}"


class Run:
    """A finished run with two picks."""

    run_id, path, info = "r1", "results/r1", {"db_version": "2026.11"}
    picks = pd.DataFrame({"pick_rank": pd.array([1, 2, None], dtype="Int64"), "formula": ["SrNbO3", "KCl", "Si"]})

    def read_table(self, _):
        return self.picks


def test_a_group_has_deployments_and_limits_in_its_pool_and_is_notified(desk, monkeypatch):
    settings = load_settings(None, GIVEN)
    with webhook() as (address, posted), get_client(sync_client=True) as client:
        monkeypatch.setenv(notifications.ADDRESS_VARIABLE, f"{address}?+X-Token=word")
        for _ in range(2):  # again, as after a change
            names = pool.deploy(settings, given_settings(None, GIVEN), desk)
        assert names == [SCREEN, WATCH, "collect-dft/collect-dft"]
        screen, watch = (client.read_deployment_by_name(name) for name in (SCREEN, WATCH))
        limits = {
            name: client.read_global_concurrency_limit_by_name(name).limit
            for name in (pool.MP_API_LIMIT, pool.DFT_LIMIT)
        }
        automations = [a.name for a in client.read_automations() if a.name.startswith("mat2spec")]
        flow_run = client.create_flow_run_from_deployment(screen.id, name="screen mp 2026.11")
        client.set_flow_run_state(flow_run.id, Failed(message="The API key is not valid."), force=True)
        announcements.announce_picks(Run())
        wait_for(lambda: len(posted) >= 2)
    assert screen.work_pool_name == watch.work_pool_name == desk
    assert screen.parameters == {"source": "materials-project", "limit": 50, "only_new": False, "run_dft": True}
    assert [schedule.active for schedule in screen.schedules] == [True]
    served = json.loads(screen.job_variables["env"][SERVED_VARIABLE])
    assert served["source"] == {"kind": "materials-project", "limit": 50}
    assert "elk_command" not in json.dumps(served)
    assert limits == {"mp-api": 1, "dft": 1}
    assert sorted(automations) == ["mat2spec: failed runs", "mat2spec: new picks"]
    assert "word" not in json.dumps(screen.model_dump(mode="json"))
    with turn("dft"), turn("no-such-limit"), turn("dft", wanted=False):
        pass

    messages = {message["title"]: message["message"] for message in posted}
    assert sorted(messages) == ["2 picks in 2026.11", "screen-gapped-metals failed"]
    assert "picked 2 materials, the best: SrNbO3, KCl." in messages["2 picks in 2026.11"]
    assert "screen mp 2026.11 is Failed: The API key is not valid." in messages["screen-gapped-metals failed"]


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"lmit": 1}, "'lmit' was unexpected"),
        ({"limit": 0}, "field 'limit'"),
        ({"run_dft": "maybe"}, "field 'run_dft'"),
        ({"set": ["gap.minwidth=1"]}, "field 'set[0]'. Failure reason: 'gap.minwidth=1' does not match"),
        ({"set": ["dft.max_jobs=4", "gap.min_width_ev=wide"]}, "field 'set[1]'"),
        ({"set": ["dft.elk_command=/tmp/evil"]}, "of `mat2spec settings` that a run may set"),
    ],
)
def test_a_request_that_no_run_could_use_is_refused_by_the_server(deployed, parameters, named):
    answer = httpx.post(f"{deployed}/create_flow_run", json={"parameters": parameters})
    assert answer.status_code == 409
    assert named in answer.json()["detail"]


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_worker_of_the_pool_runs_a_screen_with_the_settings_that_were_deployed(desk, tmp_path, crystals_path):
    given = [
        "source.kind=parquet",
        f"source.path={crystals_path}",
        "source.limit=3",
        f"results_dir={tmp_path / 'results'}",
        "prediction.models=[mat2spec]",
        "prediction.phonon_model=null",
        "run_dft=false",
    ]
    pool.deploy(load_settings(None, given), given_settings(None, given), desk)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(SCREEN)
        flow_run = client.create_flow_run_from_deployment(deployment.id, parameters={"limit": 2})
        worker = subprocess.run(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", desk, "--run-once"],
            cwd=ROOT,
            env=os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert worker.returncode == 0, worker.stdout + worker.stderr
        wait_for(lambda: client.read_flow_run(flow_run.id).state_type in TERMINAL_STATES)
        state = client.read_flow_run(flow_run.id).state
    assert state.is_completed(), (state, worker.stdout, worker.stderr)
    run = RunFolder.attach(tmp_path / "results" / "latest")
    assert run.is_finished
    assert len(run.read_table(TableName.CANDIDATES)) == 2
    assert run.info["links"]["prefect"]["flow_run_id"] == str(flow_run.id)


def test_an_unusable_address_is_refused(monkeypatch):
    monkeypatch.setenv(notifications.ADDRESS_VARIABLE, "slack.example/hook")
    with pytest.raises(notifications.NotificationError, match="cannot be sent to the address in MAT2SPEC_NOTIFY_URL"):
        notifications.set_up_notifications(None, [])
    monkeypatch.delenv(notifications.ADDRESS_VARIABLE)
    assert notifications.set_up_notifications(None, []) is False


@pytest.fixture(scope="module")
def boxes(prefect_server):
    """A work pool of Docker containers, with the template that Prefect's server has for them."""
    kinds = json.loads((files("prefect.server.api") / WORKER_KINDS).read_text())
    template = kinds["prefect-docker"]["docker"]["default_base_job_configuration"]
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="boxes", type="docker", base_job_template=template))
    return "boxes"


def test_an_unknown_pool_and_a_pool_that_lacks_something_are_named(boxes):
    settings = load_settings(None, GIVEN)
    with pytest.raises(pool.DeployError, match=r"has no work pool 'none'; `prefect work-pool ls`"):
        pool.deploy(settings, {}, "none")
    with pytest.raises(pool.DeployError, match=r"starts containers .*--image"):
        pool.deploy(settings, {}, boxes)
    with pytest.raises(pool.DeployError, match=r"results would be lost with them: name one, --job-variable 'volumes="):
        pool.deploy(settings, {}, boxes, IMAGE)
    with pytest.raises(
        pool.DeployError, match=r"refuses the deployment 'screen-gapped-metals' with .*volumes.*'/data:/work'"
    ):
        pool.deploy(settings, {}, boxes, IMAGE, {"volumes": "/data:/work"})


@pytest.mark.parametrize(("text", "message"), [("volumes", "write KEY=VALUE"), ("volumes=[", "is not valid YAML")])
def test_an_unreadable_job_variable_is_named(text, message):
    with pytest.raises(pool.DeployError, match=message):
        pool.parse_variables([text])


def test_a_pool_of_containers_has_image_folder_and_settings_and_the_image_finds_the_flow(
    boxes, tmp_path, crystals_path
):
    given = ["source.kind=parquet", f"source.path={crystals_path}", "source.limit=3", "results_dir=results"]
    variables = pool.parse_variables(['volumes=["/data/m:/work"]', "image_pull_policy=Never", "env={MP_API_KEY: abc}"])
    pool.deploy(load_settings(None, given), given_settings(None, given), boxes, IMAGE, variables)
    with get_client(sync_client=True) as client:
        screen, watch = (client.read_deployment_by_name(name) for name in (SCREEN, WATCH))
        flow_run = client.create_flow_run_from_deployment(watch.id)
        assert (screen.work_pool_name, screen.path) == (boxes, None)
        assert not screen.pull_steps
        assert screen.entrypoint == "flows.screen.screen_gapped_metals"
        assert screen.parameters == {"source": str(crystals_path), "limit": 3, "only_new": False, "run_dft": True}
        environment = screen.job_variables.pop("env")
        assert screen.job_variables == {"image": IMAGE, "volumes": ["/data/m:/work"], "image_pull_policy": "Never"}
        assert sorted(environment) == [SERVED_VARIABLE, "MP_API_KEY", "PREFECT_HOME"]
        assert json.loads(environment[SERVED_VARIABLE])["results_dir"] == "results"

        # What a container does: the entry point of the image, in another folder, with this package and these variables.
        image = (ROOT / "Containerfile").read_text()
        assert f"PREFECT_HOME={environment['PREFECT_HOME']} " in image
        entry_point = json.loads(image.rpartition("ENTRYPOINT ")[2].partition("\n")[0])
        container = subprocess.run(
            [*entry_point, "prefect", "flow-run", "execute"],
            cwd=tmp_path,
            env={
                **watch.job_variables["env"],
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "PYTHONPATH": str(ROOT),
                "HOME": str(tmp_path),
                "PREFECT_HOME": str(tmp_path / "prefect"),
                "PREFECT_API_URL": PREFECT_API_URL.value(),
                "PREFECT__FLOW_RUN_ID": str(flow_run.id),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        state = client.read_flow_run(flow_run.id).state
    assert state.is_completed(), (state, container.stdout, container.stderr)
    assert "a newer one will start a screen" in container.stdout + container.stderr


def test_picks_are_announced_only_if_there_are_any(monkeypatch):
    told = []
    monkeypatch.setattr(announcements, "emit_event", lambda event, **given: told.append((event, given["payload"])))
    run = Run()
    run.picks = Run.picks.tail(1)
    announcements.announce_picks(run)
    assert told == []
