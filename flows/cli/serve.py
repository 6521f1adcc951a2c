"""The command `mat2spec serve`: its options and its help."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ConfigOption, SetOption, as_assignments


def serve(
    config: ConfigOption = None,
    assignments: SetOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Start a Prefect server with its UI and serve the deployment `screen-gapped-metals`; Ctrl-C stops everything.

    **Examples**

        mat2spec serve

        mat2spec serve --set serve.schedule_active=true

    and in another terminal, in the folder of the project:

        prefect deployment run screen-gapped-metals
    """
    commands.serve.serve_screen(config, as_assignments({"serve.host": host, "serve.port": port}, assignments))
