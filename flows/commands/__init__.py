"""What the commands of `mat2spec` do.

    from flows import commands

    commands.screen.screen_crystals(...)

A module is imported when a command first names it: neither `mat2spec --help` nor the help of any command waits for
pandas, torch or Prefect.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.commands import (
        benchmark,
        benchmark_variants,
        compare,
        deploy,
        dft,
        engines,
        fetch,
        label,
        predict,
        report,
        screen,
        serve,
        settings,
        tables,
        train,
        why,
    )

__all__ = [
    "benchmark",
    "benchmark_variants",
    "compare",
    "deploy",
    "dft",
    "engines",
    "fetch",
    "label",
    "predict",
    "report",
    "screen",
    "serve",
    "settings",
    "tables",
    "train",
    "why",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'flows.commands' has no attribute '{name}'")
    return import_module(f"flows.commands.{name}")
