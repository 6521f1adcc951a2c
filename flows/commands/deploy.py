"""`mat2spec deploy`: register the deployments with a work pool of a server that is already there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.commands.terminal import console
from flows.serve.pool import deploy, parse_variables
from flows.settings_layers import given_settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def deploy_screen(
    pool: str, image: str | None, variables: Sequence[str], config: Path | None, assignments: Sequence[str]
) -> None:
    """Register the deployments and say how to run them."""
    settings = load_settings(config, assignments)
    names = deploy(settings, given_settings(config, assignments), pool, image, parse_variables(variables))
    serve = settings.serve
    console.print(
        "\n".join(f"Deployed:  {name}" for name in names)
        + f"\nWork pool: {pool}; `prefect worker start --pool {pool}` starts a worker on this machine\n"
        f"Limits:    mp-api {serve.mp_api_limit}, dft {serve.dft_limit} at the same time\n"
        f"Run:       prefect deployment run {names[0]}",
        highlight=False,
        soft_wrap=True,
    )
