"""Releases: the database versions used by runs."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

from screening.runs.record import RunError, RunStatus, list_runs


def finished_runs(results_dir: Path) -> list[dict[str, Any]]:
    """Records of the finished runs, oldest first."""
    return [info for info in list_runs(results_dir) if info["status"] == RunStatus.FINISHED]


def last_screened_release(results_dir: Path, kind: str) -> str | None:
    """Release of the last finished run on a kind of source; None if there is none."""
    releases = [
        str(info["db_version"])
        for info in finished_runs(results_dir)
        if info.get("settings", {}).get("source", {}).get("kind") == kind
    ]
    return releases[-1] if releases else None


def runs_since(results_dir: Path, since: str | None) -> list[dict[str, Any]]:
    """Finished runs since a date or a release, oldest first; only the last one if `since` is None.

    Parameters
    ----------
    results_dir
        Folder of all runs.
    since
        A date such as "2026-11-01": runs made on that day or later. A release such as "2026.09.01": runs made after
        the last one on that release.

    Raises
    ------
    RunError
        If no run has finished, or `since` is neither a date nor the release of a run.
    """
    runs = finished_runs(results_dir)
    if not runs:
        raise RunError(f"No run in {results_dir} has finished yet. Run `mat2spec screen` first.")
    if since is None:
        return runs[-1:]
    releases = [str(info["db_version"]) for info in runs]
    if since in releases:
        return runs[len(releases) - releases[::-1].index(since) :]
    day = _day(since)
    if day is None:
        known = ", ".join(dict.fromkeys(releases))
        raise RunError(
            f"'{since}' is neither a date such as 2026-11-01 nor the release of a run; releases are {known}."
        )
    return [info for info in runs if str(info.get("created", ""))[:10] >= day]


def _day(text: str) -> str | None:
    """The date in ISO form, or None if the text is not one."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return None
