"""The deployments of the screen and of the watcher, and the one command that starts server, UI and both."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from flows.errors import hear_interrupts
from flows.server import prefect_server
from flows.settings_layers import load_settings
from flows.terminal import console

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prefect.deployments.runner import RunnerDeployment

    from flows.settings import ScreenSettings

DEPLOYMENT_NAME = "screen-gapped-metals"
SCHEDULE_SLUG = "regular"
WATCH_DEPLOYMENT_NAME = "watch-releases"
WATCH_SLUG = "poll"
# A served run starts at the next poll: with Prefect's 10 s a person waits and wonders.
POLL_FREQUENCY_S = "2"


def screen_deployment(settings: ScreenSettings) -> RunnerDeployment:
    """The deployment of the flow, with all settings as parameters that a person can change in the UI."""
    from prefect.deployments.runner import RunnerDeployment
    from prefect.events import DeploymentEventTrigger
    from prefect.flows import EntrypointType
    from prefect.schedules import Cron

    from flows.screen import screen_gapped_metals
    from flows.watch import NEW_RELEASE_EVENT, resource_id

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
    return RunnerDeployment.from_flow(
        screen_gapped_metals,
        name=DEPLOYMENT_NAME,
        parameters={"settings": settings.model_dump(mode="json")},
        schedules=[schedule],
        triggers=[new_release],
        entrypoint_type=EntrypointType.MODULE_PATH,
        tags=["screening"],
    )


def watch_deployment(settings: ScreenSettings) -> RunnerDeployment:
    """The deployment of the watcher, which asks for the release of the source by its own schedule."""
    from prefect.deployments.runner import RunnerDeployment
    from prefect.flows import EntrypointType
    from prefect.schedules import Cron

    from flows.watch import watch_releases

    serve = settings.serve
    schedule = Cron(serve.watch_cron, timezone=serve.timezone, active=serve.watch_active, slug=WATCH_SLUG)
    return RunnerDeployment.from_flow(
        watch_releases,
        name=WATCH_DEPLOYMENT_NAME,
        parameters={"settings": settings.model_dump(mode="json")},
        schedules=[schedule],
        entrypoint_type=EntrypointType.MODULE_PATH,
        tags=["screening"],
    )


def serve_screen(config: Path | None, assignments: Sequence[str]) -> None:
    """Start server, UI and deployment; return when Ctrl-C or SIGTERM has stopped all of them."""
    hear_interrupts()
    settings = load_settings(config, assignments)
    with prefect_server(settings.serve, settings.results_dir / "prefect-server.log") as api_url:
        # Before Prefect's client is imported, which reads its settings then.
        os.environ["PREFECT_API_URL"] = api_url
        os.environ.setdefault("PREFECT_RUNNER_POLL_FREQUENCY", POLL_FREQUENCY_S)
        _serve(settings, api_url)
    console.print("Server and deployment have stopped.")


def _serve(settings: ScreenSettings, api_url: str) -> None:
    from prefect.runner import Runner

    # A screen uses all cores: one at a time, others wait in the queue.
    runner = Runner(pause_on_shutdown=True, limit=1)
    runner.add_deployment(screen_deployment(settings))
    runner.add_deployment(watch_deployment(settings))
    # Prefect's own handler ends the process before flow runs are told; Ctrl-C takes the orderly way.
    runner.handle_sigterm = _pass_on_as_interrupt  # type: ignore[method-assign]
    close_abandoned_runs()
    _say_how_to_use(settings, api_url)
    with suppress(KeyboardInterrupt):
        asyncio.run(runner.start())


def _pass_on_as_interrupt(*_: object) -> None:
    """Do to this process and its flow runs what Ctrl-C in a terminal does to all of them."""
    import psutil

    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(child.pid) == os.getpgrp():  # the server has a group of its own: it stops last
                child.send_signal(signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)


def close_abandoned_runs() -> int:
    """Mark flow runs as crashed that an earlier server left as running; return how many.

    Only for a server that was just started here: nothing can run yet. Their run folders are taken
    up by the next run with the same settings.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    from flows.screen import FLOW_NAME
    from flows.watch import WATCH_FLOW_NAME

    active = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    with get_client(sync_client=True) as client:
        abandoned = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW_NAME, WATCH_FLOW_NAME])),
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=active)),
        )
        for flow_run in abandoned:
            message = "The server stopped while this ran; a new run with the same settings goes on from there."
            client.set_flow_run_state(flow_run.id, Crashed(message=message), force=True)
    return len(abandoned)


def _say_how_to_use(settings: ScreenSettings, api_url: str) -> None:
    serve = settings.serve
    state = "active" if serve.schedule_active else "paused; --set serve.schedule_active=true activates it"
    watching = "active" if serve.watch_active else "paused; --set serve.watch_active=true activates it"
    console.print(
        f"UI:        {api_url.removesuffix('/api')}\n"
        f"Run:       prefect deployment run {DEPLOYMENT_NAME}\n"
        f"Elsewhere: PREFECT_API_URL={api_url} prefect deployment run {DEPLOYMENT_NAME}/{DEPLOYMENT_NAME}\n"
        f"Schedule:  '{serve.cron}' {serve.timezone} ({state})\n"
        f"Watcher:   '{serve.watch_cron}' {serve.timezone}, screens what a new release brings ({watching})\n"
        "Stop:      Ctrl-C",
        highlight=False,
        soft_wrap=True,
    )
