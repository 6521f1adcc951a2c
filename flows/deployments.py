"""The deployment `screen-gapped-metals`, and the one command that starts server, UI and deployment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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
# A served run starts at the next poll: with Prefect's 10 s a person waits and wonders.
POLL_FREQUENCY_S = "2"


def screen_deployment(settings: ScreenSettings) -> RunnerDeployment:
    """The deployment of the flow, with all settings as parameters that a person can change in the UI."""
    from prefect.deployments.runner import RunnerDeployment
    from prefect.flows import EntrypointType
    from prefect.schedules import Cron

    from flows.screen import screen_gapped_metals

    schedule = Cron(
        settings.serve.cron,
        timezone=settings.serve.timezone,
        active=settings.serve.schedule_active,
        slug=SCHEDULE_SLUG,
    )
    return RunnerDeployment.from_flow(
        screen_gapped_metals,
        name=DEPLOYMENT_NAME,
        parameters={"settings": settings.model_dump(mode="json")},
        schedules=[schedule],
        entrypoint_type=EntrypointType.MODULE_PATH,
        tags=["screening"],
    )


def serve_screen(config: Path | None, assignments: Sequence[str]) -> None:
    """Start server, UI and deployment; return when Ctrl-C or SIGTERM has stopped all of them."""
    settings = load_settings(config, assignments)
    with prefect_server(settings.serve, settings.results_dir / "prefect-server.log") as api_url:
        # Before Prefect's client is imported, which reads its settings then.
        os.environ["PREFECT_API_URL"] = api_url
        os.environ.setdefault("PREFECT_RUNNER_POLL_FREQUENCY", POLL_FREQUENCY_S)
        _serve(settings, api_url)
    console.print("Server and deployment have stopped.")


def _serve(settings: ScreenSettings, api_url: str) -> None:
    from prefect import serve

    from flows.screen import DFT_LIMIT

    deployment = screen_deployment(settings)
    _limit_concurrent_dft(DFT_LIMIT)
    _say_how_to_use(settings, api_url)
    serve(deployment, print_starting_message=False)


def _limit_concurrent_dft(name: str) -> None:
    """DFT of one flow run at a time: two would only take each other's cores."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))


def _say_how_to_use(settings: ScreenSettings, api_url: str) -> None:
    state = "active" if settings.serve.schedule_active else "paused; --set serve.schedule_active=true activates it"
    console.print(
        f"UI:        {api_url.removesuffix('/api')}\n"
        f"Run:       prefect deployment run {DEPLOYMENT_NAME}\n"
        f"Elsewhere: PREFECT_API_URL={api_url} prefect deployment run {DEPLOYMENT_NAME}/{DEPLOYMENT_NAME}\n"
        f"Schedule:  '{settings.serve.cron}' {settings.serve.timezone} ({state})\n"
        "Stop:      Ctrl-C",
        highlight=False,
        soft_wrap=True,
    )
