"""A deployment may be named without its flow."""

import asyncio
from types import SimpleNamespace

import pytest
from prefect.exceptions import ObjectNotFound

from flows.serve.plugin import (
    SCREEN_ENTRYPOINT,
    DeploymentNameError,
    accept_bare_name,
    check_parameters_of,
    choose_full_name,
)


def test_the_only_flow_with_that_deployment_is_taken():
    assert choose_full_name("screen", ["find-metals"]) == "find-metals/screen"


def test_no_deployment_is_a_sentence():
    with pytest.raises(ObjectNotFound, match="Unknown deployment 'screen'; start one with `make serve`"):
        choose_full_name("screen", [])


def test_several_flows_are_all_named():
    with pytest.raises(DeploymentNameError, match="say which: a/screen, b/screen"):
        choose_full_name("screen", ["b", "a"])


def test_under_the_command_line_of_prefect_the_sentence_is_not_buried_in_a_traceback(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/prefect", "deployment", "run", "screen"])
    with pytest.raises(SystemExit, match="say which: a/screen, b/screen"):
        choose_full_name("screen", ["b", "a"])


class FakeClient:
    """Deployments by name, each in the flow that its id names."""

    def __init__(self, *flows):
        self.flows = flows

    def read_deployments(self, deployment_filter):
        assert deployment_filter.name.any_ == ["screen"]
        return [SimpleNamespace(flow_id=flow) for flow in self.flows]

    def read_flow(self, flow_id):
        return SimpleNamespace(name=flow_id)


class FakeAsyncClient(FakeClient):
    async def read_deployments(self, deployment_filter):
        return super().read_deployments(deployment_filter)

    async def read_flow(self, flow_id):
        return super().read_flow(flow_id)


@pytest.mark.parametrize(("given", "looked_up"), [("screen", "metals/screen"), ("other/screen", "other/screen")])
def test_both_clients_look_up_the_full_name(given, looked_up):
    async def read_async(client, name):
        return name

    wrapped = accept_bare_name(read_async)
    assert asyncio.run(wrapped(FakeAsyncClient("metals"), given)) == looked_up
    assert accept_bare_name(lambda client, name: name)(FakeClient("metals"), given) == looked_up


def test_without_a_server_the_sentence_says_how_to_start_one():
    import httpx

    class Unreachable(FakeClient):
        api_url = "http://127.0.0.1:1/api/"

        def read_deployments(self, deployment_filter):
            raise httpx.ConnectError("All connection attempts failed")

    with pytest.raises(
        DeploymentNameError, match=r"No Prefect server answers at http://127\.0\.0\.1:1/api/; start one"
    ):
        accept_bare_name(lambda client, name: name)(Unreachable(), "screen")


@pytest.mark.parametrize("is_ours", [True, False])
def test_settings_of_a_run_are_checked_before_it_is_created(is_ours):
    class Client:
        def read_deployment(self, deployment_id):
            return SimpleNamespace(entrypoint=SCREEN_ENTRYPOINT if is_ours else "other.flow")

    create = check_parameters_of(lambda client, deployment_id, **given: "created")
    assert create(Client(), 1, parameters={"set": ["gap.min_width_ev=1.2"]}) == "created"
    wrong = {"set": ["gap.minwidth=1.2"]}
    if not is_ours:
        assert create(Client(), 1, parameters=wrong) == "created"
        return
    with pytest.raises(DeploymentNameError, match=r"Parameter 'set': Unknown setting 'gap\.minwidth'"):
        create(Client(), 1, parameters=wrong)
