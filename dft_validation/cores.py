"""Cores that a process may use: those of its affinity, within the CPU quota of its container or batch job."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_CONTROLLER = "cpu"


def usable_cores(cgroups: Path = _CGROUPS, own_groups: Path = _OWN_GROUPS) -> int:
    """Cores that this process may use, at least 1.

    Parameters
    ----------
    cgroups
        Where the hierarchies of control groups, of version 1 or 2, are mounted.
    own_groups
        File that names the groups of this process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cores, _quota(cgroups, own_groups))))


def _quota(cgroups: Path, own_groups: Path) -> float:
    """The smallest quota of the groups of this process and of all groups above them, in cores."""
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:
        return math.inf
    quotas = [_quota_of_group(folder) for line in lines or ["0::/"] for folder in _folders(line, cgroups)]
    return min(quotas, default=math.inf)


def _folders(line: str, cgroups: Path) -> Iterator[Path]:
    """Folders of a group and all above it; `line` is "0::/group" in version 2, "4:cpu,cpuacct:/group" in version 1."""
    _, controllers, group = (*line.split(":", 2), "", "")[:3]
    names = controllers.split(",")
    if controllers and _CONTROLLER not in names:
        return
    # Version 1 mounts a hierarchy under the names of its controllers, with a link for each of them.
    tops = {cgroups / controllers, cgroups / _CONTROLLER} if controllers else {cgroups}
    for top in tops:
        # In a container the group may be one of the host, whose folders are not there: those above it count all the same.
        folder = top / group.strip("/")
        yield from (parent for parent in (folder, *folder.parents) if parent.is_relative_to(top))


def _quota_of_group(folder: Path) -> float:
    """Cores that a group may use; infinite without a limit."""
    return min(
        _ratio(_words(folder / "cpu.max")),
        _ratio([*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]),
    )


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _ratio(words: list[str]) -> float:
    """Cores by two numbers of microseconds, allowed and in a period; version 2 says "max" for no limit, version 1 -1."""
    try:
        allowed, period = (int(word) for word in words)
        return allowed / period if allowed > 0 else math.inf
    except (ValueError, ZeroDivisionError):
        return math.inf
