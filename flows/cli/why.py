"""The command `mat2spec why`: its options and its help."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ResultsOption


def why(
    material: Annotated[
        str, typer.Argument(metavar="MATERIAL", help="Identifier, or a formula that only one material has.")
    ],
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Run id or folder; the last finished run by default.")
    ] = None,
    results_dir: ResultsOption = None,
) -> None:
    """Explain one material's result: which filter removed it, what each model says, why DFT did or did not check it.

    **Examples**

        mat2spec why mp-149

        mat2spec why NbMo
    """
    commands.why.say_why(material, run, results_dir)
