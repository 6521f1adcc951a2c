"""`mat2spec serve`: start the server, its UI and both deployments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flows.commands.exits import hear_interrupts
from flows.commands.terminal import console
from flows.parameters import served_environment
from flows.serve.deployments import DEPLOYMENT_NAME
from flows.serve.runner import serve_deployments
from flows.serve.server import prefect_server
from flows.settings_layers import given_settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flows.settings import ScreenSettings


def serve_screen(config: Path | None, assignments: Sequence[str]) -> None:
    """Start server, UI and deployments; return when Ctrl-C or SIGTERM has stopped all of them."""
    hear_interrupts()
    settings = load_settings(config, assignments)
    os.environ |= served_environment(given_settings(config, assignments))
    with prefect_server(settings.serve, settings.results_dir / "prefect-server.log") as api_url:
        serve_deployments(settings, api_url, lambda: _say_how_to_use(settings, api_url))
    console.print("Server and deployments have stopped.")


def _say_how_to_use(settings: ScreenSettings, api_url: str) -> None:
    serve = settings.serve
    state = "active" if serve.schedule_active else "paused; --set serve.schedule_active=true activates it"
    watching = "active" if serve.watch_active else "paused; --set serve.watch_active=true activates it"
    console.print(
        f"UI:        {api_url.removesuffix('/api')}\n"
        f"Run:       prefect deployment run {DEPLOYMENT_NAME}\n"
        f"Elsewhere: PREFECT_API_URL={api_url} prefect deployment run {DEPLOYMENT_NAME}/{DEPLOYMENT_NAME}\n"
        f"Schedule:  '{serve.cron}' {serve.timezone} ({state})\n"
        f"Watcher:   '{serve.watch_cron}' {serve.timezone}, screens what is new in a release ({watching})\n"
        "Stop:      Ctrl-C",
        highlight=False,
        soft_wrap=True,
    )
