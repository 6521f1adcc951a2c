"""`mat2spec catalogue build`: make the embedded catalogue."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from flows.errors import resumable
from flows.settings_layers import load_model
from flows.terminal import console, stage_progress
from screening.catalogue import CatalogueSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class MissingExtraError(RuntimeError):
    """A command needs an optional package; the message says how to get it."""


def build(output: Path, work_dir: Path, config: Path | None, assignments: Sequence[str]) -> None:
    """Build the catalogue, or go on building it."""
    settings = load_model(CatalogueSettings, config, assignments)
    if find_spec("chgnet") is None:
        raise MissingExtraError(
            "The catalogue is relaxed with CHGNet, which is not installed; install it with "
            "`.venv/bin/pip install -c constraints.txt chgnet`."
        )
    from screening.catalogue.build import build_catalogue

    with stage_progress("Relax crystals") as progress, resumable(str(work_dir)):

        def report(done: int, total: int, text: str) -> None:
            progress(done, total)
            console.log(text, highlight=False)

        build_catalogue(settings, output, work_dir, report)
