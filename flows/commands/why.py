"""`mat2spec why`: what happened to one material in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.commands.tables import find_run
from flows.commands.terminal import say_hanging
from flows.settings_layers import load_settings
from screening.report.story import tell_story

if TYPE_CHECKING:
    from pathlib import Path


def say_why(material: str, run_name: str | None, results_dir: Path | None) -> None:
    """Print what happened to a material, one sentence per line."""
    run = find_run(run_name, results_dir or load_settings().results_dir)
    for sentence in tell_story(run, material):
        say_hanging("", sentence)
