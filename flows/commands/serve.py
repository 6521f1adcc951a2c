"""`mat2spec serve`: start the server, its UI and the deployments."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from flows.commands.exits import hear_interrupts
from flows.commands.terminal import console
from flows.parameters import served_environment
from flows.serve.api_secret import secret_file
from flows.serve.deployments import DEPLOYMENT_NAME
from flows.serve.notifications import ADDRESS_VARIABLE
from flows.serve.runner import serve_deployments
from flows.serve.server import Address, home_of, prefect_server
from flows.settings_layers import given_settings, load_settings
from screening.settings import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flows.settings import ScreenSettings, ServeSettings

# As in pyproject.toml, where `prefect` finds it.
PROJECT_API_URL = "http://127.0.0.1:4200/api"


def serve_screen(config: Path | None, assignments: Sequence[str]) -> None:
    """Start server, UI and deployments; return when Ctrl-C or SIGTERM has stopped all of them."""
    hear_interrupts()
    settings = load_settings(config, assignments)
    os.environ |= served_environment(given_settings(config, assignments))
    home = home_of(settings.serve, settings.results_dir)
    with prefect_server(settings.serve, home) as environment:
        serve_deployments(settings, environment, lambda: _say_how_to_use(settings))
    console.print("Server and deployments have stopped.")


def _say_how_to_use(settings: ScreenSettings) -> None:
    serve, address = settings.serve, Address.of(settings.serve)
    state = "active" if serve.schedule_active else "paused; --set serve.schedule_active=true activates it"
    watching = "active" if serve.watch_active else "paused; --set serve.watch_active=true activates it"
    collecting = "active" if serve.collect_active else "paused; --set serve.collect_active=true activates it"
    messages = (
        f"failed runs and new picks, to the address in {ADDRESS_VARIABLE}"
        if os.environ.get(ADDRESS_VARIABLE)
        else f"none; {ADDRESS_VARIABLE} names an address for failed runs and new picks"
    )
    secret = (
        f'PREFECT_API_AUTH_STRING="$(cat {shlex.quote(str(secret_file(serve.port)))})" ' if serve.authentication else ""
    )
    console.print(
        f"UI:        {address.ui_url}\n"
        f"Secret:    {_about_secret(serve)}\n"
        f"Run:       {'' if _is_found(address) else f'PREFECT_API_URL={address.api_url} '}"
        f"prefect deployment run {DEPLOYMENT_NAME}   (in the folder of the project)\n"
        f"Elsewhere: PREFECT_API_URL={address.api_url} {secret}prefect deployment run {DEPLOYMENT_NAME}/{DEPLOYMENT_NAME}\n"
        f"Schedule:  '{serve.cron}' {serve.timezone} ({state})\n"
        f"DFT jobs:  '{serve.collect_cron}' {serve.timezone}, collected from another machine ({collecting})\n"
        f"Watcher:   '{serve.watch_cron}' {serve.timezone}, screens what is new in a release ({watching})\n"
        f"Messages:  {messages}\n"
        "Stop:      Ctrl-C",
        highlight=False,
        soft_wrap=True,
    )


def _about_secret(serve: ServeSettings) -> str:
    if serve.authentication:
        return f"{secret_file(serve.port)}, for the UI too"
    reached = "Everybody who reaches this machine" if serve.host not in LOOPBACK_HOSTS else "Every user of this machine"
    return f"none. {reached} can run programs as you; serve.authentication=true asks for one"


def _is_found(address: Address) -> bool:
    """Whether `prefect` finds the server from the folder of the project, whose pyproject.toml names this address."""
    return address.api_url == PROJECT_API_URL
