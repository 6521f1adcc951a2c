"""The command `mat2spec engines`."""

from __future__ import annotations

from flows import commands


def engines() -> None:
    """List the DFT engines and show which can be used here."""
    commands.engines.print_engines()
