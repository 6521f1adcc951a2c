"""Deployments that code makes and those of prefect.yaml are the same ones."""

from pathlib import Path

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint

from flows.parameters import settings_of_run
from flows.screen import LIMITED_TAG
from flows.serve.deployments import deployments
from flows.serve.watch import NEW_RELEASE_EVENT, SCREEN_FLOW_NAME
from flows.settings import ScreenSettings

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def of_the_file():
    return {entry["name"]: entry for entry in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}


def test_the_file_deploys_the_same_flows_on_the_same_schedules(of_the_file):
    made = {deployment.name: deployment for deployment in deployments(ScreenSettings())}
    assert set(of_the_file) == set(made)
    for name, entry in of_the_file.items():
        path, function = entry["entrypoint"].split(":")
        assert f"{path.removesuffix('.py').replace('/', '.')}.{function}" == made[name].entrypoint
        assert entry["schedules"][0]["cron"] == made[name].schedules[0].schedule.cron
        assert entry["schedules"][0]["active"] is made[name].schedules[0].active is False
    screen = of_the_file["screen-gapped-metals"]
    assert LIMITED_TAG in screen["tags"]
    assert screen["triggers"][0]["expect"] == [NEW_RELEASE_EVENT]


def test_the_watcher_of_the_file_polls_the_source_of_the_screen(of_the_file, monkeypatch):
    for name, value in of_the_file["watch-releases"]["work_pool"]["job_variables"]["env"].items():
        monkeypatch.setenv(name, value)
    assert settings_of_run().source.kind == of_the_file["screen-gapped-metals"]["parameters"]["source"]


def test_the_parameters_of_the_file_are_those_of_the_flow(of_the_file):
    screen = of_the_file["screen-gapped-metals"]
    flow = load_flow_from_entrypoint(str(ROOT / screen["entrypoint"]))
    assert flow.name == SCREEN_FLOW_NAME
    assert flow.validate_parameters(screen["parameters"])["run_dft"] is False
