"""Deployments to a work pool of a real server: parameters, limits, notifications, and what a worker is given."""

import json

import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate

from flows.parameters import SERVED_VARIABLE
from flows.serve import notifications, pool
from flows.serve.flow_runs import turn
from flows.settings_layers import given_settings, load_settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]
GIVEN = ["source.kind=materials-project", "source.limit=50", "dft.elk_command=/opt/elk", "serve.schedule_active=true"]


def test_a_group_has_deployments_limits_and_notifications_in_its_pool(monkeypatch):
    monkeypatch.setenv(pool.NOTIFY_VARIABLE, "mailtos://user:word@mail.example?to=group@mail.example")
    settings = load_settings(None, GIVEN)
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="desk", type="process"))
    for _ in range(2):  # again, as after a change
        names = pool.deploy(settings, given_settings(None, GIVEN), "desk")
    assert names == [
        "screen-gapped-metals/screen-gapped-metals",
        "watch-releases/watch-releases",
        "collect-dft/collect-dft",
    ]
    with get_client(sync_client=True) as client:
        screen, watch, _ = (client.read_deployment_by_name(name) for name in names)
        limits = {
            name: client.read_global_concurrency_limit_by_name(name).limit
            for name in (pool.MP_API_LIMIT, pool.DFT_LIMIT)
        }
        automations = [a.name for a in client.read_automations() if a.name.startswith("mat2spec")]
    assert screen.work_pool_name == watch.work_pool_name == "desk"
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


def test_a_pool_that_is_not_there_or_needs_an_image_is_named():
    settings = load_settings(None, GIVEN)
    with pytest.raises(pool.DeployError, match=r"has no work pool 'none'; `prefect work-pool ls`"):
        pool.deploy(settings, {}, "none")
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="boxes", type="docker"))
    with pytest.raises(pool.DeployError, match=r"starts containers .*--image"):
        pool.deploy(settings, {}, "boxes")
    assert pool.job_variables({}, "docker", "lab/mat2spec:1")["image"] == "lab/mat2spec:1"


def test_picks_are_told_once_and_only_if_there_are_any(monkeypatch):
    told = []
    monkeypatch.setattr(notifications, "emit_event", lambda event, **given: told.append((event, given["payload"])))

    class Run:
        run_id, path, info = "r1", "results/r1", {"db_version": "2026.11"}
        picks = pd.DataFrame({"pick_rank": pd.array([1, 2, None], dtype="Int64"), "formula": ["SrNbO3", "KCl", "Si"]})

        def read_table(self, _):
            return self.picks

    notifications.announce_picks(Run())
    Run.picks = Run.picks.tail(1)
    notifications.announce_picks(Run())
    ((event, payload),) = told
    assert event == notifications.NEW_PICKS_EVENT
    assert (payload["n"], payload["best"], payload["release"]) == (2, "SrNbO3, KCl", "2026.11")
