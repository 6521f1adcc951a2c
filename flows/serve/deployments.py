"""The deployments of the screen, of the watcher and of the collection of DFT jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.flows import EntrypointType
from prefect.schedules import Cron
from prefect.utilities.callables import ParameterSchema

from flows.collect import COLLECT_FLOW_NAME, collect_dft
from flows.parameters import served_parameters
from flows.screen import FLOW_NAME, screen_gapped_metals
from flows.serve.watch import NEW_RELEASE_EVENT, WATCH_FLOW_NAME, resource_id, watch_releases

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.schedules import Schedule

    from flows.settings import ScreenSettings

DEPLOYMENT_NAME = "screen-gapped-metals"
SCHEDULE_SLUG = "regular"
WATCH_DEPLOYMENT_NAME = "watch-releases"
WATCH_SLUG = "poll"
COLLECT_DEPLOYMENT_NAME = "collect-dft"
COLLECT_SLUG = "collect"
# The flows of all deployments.
FLOW_NAMES = [FLOW_NAME, WATCH_FLOW_NAME, COLLECT_FLOW_NAME]


class ClosedSchema(ParameterSchema):
    """JSON schema of the parameters of a flow, which has no others."""

    additionalProperties: Literal[False] = False  # noqa: N815  JSON schema's name


class ClosedDeployment(RunnerDeployment):
    """A deployment whose server refuses parameters that the flow does not have, in whatever way they arrive."""

    def _set_defaults_from_flow(self, flow: Flow[..., Any]) -> None:
        super()._set_defaults_from_flow(flow)
        schema = self._parameter_openapi_schema.model_dump()
        self._parameter_openapi_schema = ClosedSchema(**schema, additionalProperties=False)


def screen_deployment(settings: ScreenSettings) -> RunnerDeployment:
    """The deployment of the screen; its form shows the served values of the parameters."""
    schedule = Cron(
        settings.serve.cron,
        timezone=settings.serve.timezone,
        active=settings.serve.schedule_active,
        slug=SCHEDULE_SLUG,
    )
    new_release = DeploymentEventTrigger(
        name="new-release",
        description="The watcher found a new release: screen what is new.",
        expect={NEW_RELEASE_EVENT},
        match={"prefect.resource.id": resource_id(settings.source)},
        parameters={"release": "{{ event.payload.new }}"},
    )
    return ClosedDeployment.from_flow(
        screen_gapped_metals,
        name=DEPLOYMENT_NAME,
        parameters=served_parameters(settings),
        schedules=[schedule],
        triggers=[new_release],
        entrypoint_type=EntrypointType.MODULE_PATH,
        tags=["screening"],
    )


def deployments(settings: ScreenSettings) -> list[RunnerDeployment]:
    """All deployments: the screen, the watcher and the collection of DFT jobs."""
    return [screen_deployment(settings), watch_deployment(settings), collect_deployment(settings)]


def collect_deployment(settings: ScreenSettings) -> RunnerDeployment:
    """The deployment that collects DFT jobs from other machines on its own schedule."""
    serve = settings.serve
    schedule = Cron(serve.collect_cron, timezone=serve.timezone, active=serve.collect_active, slug=COLLECT_SLUG)
    return _on_schedule(collect_dft, COLLECT_DEPLOYMENT_NAME, schedule)


def watch_deployment(settings: ScreenSettings) -> RunnerDeployment:
    """The deployment of the watcher, which checks the release of the source on its own schedule."""
    serve = settings.serve
    schedule = Cron(serve.watch_cron, timezone=serve.timezone, active=serve.watch_active, slug=WATCH_SLUG)
    return _on_schedule(watch_releases, WATCH_DEPLOYMENT_NAME, schedule)


def _on_schedule(flow: Flow[..., Any], name: str, schedule: Schedule) -> RunnerDeployment:
    return ClosedDeployment.from_flow(
        flow, name=name, schedules=[schedule], entrypoint_type=EntrypointType.MODULE_PATH, tags=["screening"]
    )
