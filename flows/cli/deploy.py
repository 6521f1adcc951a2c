"""The command `mat2spec deploy`: its options and its help."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ConfigOption, SetOption


def deploy(
    pool: Annotated[str, typer.Option("--work-pool", metavar="POOL", help="Work pool of the server.")],
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Container image with this package, for pools that need one.")
    ] = None,
    variables: Annotated[
        list[str] | None,
        typer.Option("--job-variable", metavar="KEY=VALUE", help="Job variable of the pool, in YAML; may be repeated."),
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Register the screen, the watcher and the collection of DFT jobs with a Prefect server that is already there.

    The server is the one that `prefect` itself uses (PREFECT_API_URL, or Prefect Cloud after `prefect cloud login`). It
    reports failed runs and new picks to the address in MAT2SPEC_NOTIFY_URL, if set: a Slack webhook, or
    mailtos://user:password@host?to=address.

    **Examples**

        mat2spec deploy --work-pool desk --set serve.schedule_active=true

        mat2spec deploy --work-pool docker --image lab.example/mat2spec:0.2.0 --job-variable 'volumes=["/data/mat2spec:/work"]'
    """
    commands.deploy.deploy_screen(pool, image, variables or [], config, assignments or [])
