"""`mat2spec settings`: every setting with its value, source, default and meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from flows.commands.terminal import console, say_hanging
from flows.settings_layers import ShownSetting, list_settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def print_settings(pattern: str | None, config: Path | None, assignments: Sequence[str], *, as_yaml: bool) -> None:
    """Print the settings whose key or description contains `pattern`, or those of the group `pattern`."""
    if as_yaml:
        values = load_settings(config, assignments).model_dump(mode="json")
        print(yaml.safe_dump(values, sort_keys=False), end="")  # noqa: T201  goes into a file, unwrapped
        return
    settings = list_settings(config, assignments)
    group = [setting for setting in settings if setting.key.startswith(f"{pattern}.")]
    chosen = group or [setting for setting in settings if _matches(setting, pattern)]
    if not chosen:
        raise ValueError(
            f"No setting has '{pattern}' in its name or description; `mat2spec settings` lists all settings."
        )
    for setting in chosen:
        _say(setting)


def _matches(setting: ShownSetting, pattern: str | None) -> bool:
    return pattern is None or pattern.lower() in f"{setting.key} {setting.description}".lower()


def _say(setting: ShownSetting) -> None:
    """A setting with its value and where that is from, and what it means below."""
    default = "" if setting.source == "default" else f", default {setting.default}"
    console.print(f"{setting.key} = {setting.value}   ({setting.source}{default})", highlight=False, soft_wrap=True)
    say_hanging("    ", setting.description)
