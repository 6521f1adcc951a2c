"""`mat2spec settings`: every setting with its value, source, default and meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml
from rich.table import Table

from flows.commands.terminal import console
from flows.settings_layers import ShownSetting, list_settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def print_settings(pattern: str | None, config: Path | None, assignments: Sequence[str], *, as_yaml: bool) -> None:
    """Print the settings whose key or description contains `pattern`, as a table or as a settings file."""
    if as_yaml:
        values = load_settings(config, assignments).model_dump(mode="json")
        print(yaml.safe_dump(values, sort_keys=False), end="")  # noqa: T201  goes into a file, unwrapped
        return
    chosen = [setting for setting in list_settings(config, assignments) if _matches(setting, pattern)]
    if not chosen:
        raise ValueError(
            f"No setting has '{pattern}' in its name or description; `mat2spec settings` lists all settings."
        )
    console.print(_table(chosen))


def _matches(setting: ShownSetting, pattern: str | None) -> bool:
    return pattern is None or pattern.lower() in f"{setting.key} {setting.description}".lower()


def _table(settings: Sequence[ShownSetting]) -> Table:
    table = Table(title="Settings", show_lines=False)
    table.add_column("setting", style="bold", no_wrap=True)
    for heading in ("value", "from", "description"):
        table.add_column(heading, overflow="fold")
    for setting in settings:
        value = str(setting.value) if setting.source == "default" else f"{setting.value} (default {setting.default})"
        table.add_row(setting.key, value, setting.source, setting.description)
    return table
