"""The command `mat2spec settings`: its options and its help."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ConfigOption, SetOption


def settings(
    pattern: Annotated[
        str | None,
        typer.Argument(metavar="WORD", help="Show only this group of settings, or those that contain this word."),
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print a settings file with all values.")] = False,
) -> None:
    """Show every setting: its value, where it comes from, its default and what it means.

    The command line overrides the environment (`MAT2SPEC_GAP__MIN_WIDTH_EV=1.2`), which overrides the
    file, which overrides the default.

    **Examples**

        mat2spec settings

        mat2spec settings gap

        mat2spec settings --yaml > my_screen.yaml
    """
    commands.settings.print_settings(pattern, config, assignments or [], as_yaml=as_yaml)
