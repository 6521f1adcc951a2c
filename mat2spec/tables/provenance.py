"""Provenance of a result: package versions, commit, hashes."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "mat2spec-screening"
PACKAGES = (
    DISTRIBUTION,
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pymatgen",
    "prefect",
    "jobflow",
    "gpaw",
    "gpaw-data",
    "ase",
)
REPOSITORY = Path(__file__).resolve().parents[2]
GIT_TIMEOUT_S = 10
NOT_INSTALLED = "not installed"


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, without importing them."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = NOT_INSTALLED
    return versions


def git_commit(repository: Path = REPOSITORY) -> str | None:
    """Commit of the code, with "-dirty" if files differ from it; None outside a clone or without git."""
    if not (repository / ".git").exists():
        return None
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        # No git, or a clone that git does not trust: the commit is unknown.
        return None
    return answer.stdout.strip() or None


def hash_json(content: object) -> str:
    """SHA-256 of anything that JSON can hold; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def utc_now() -> str:
    """Time in UTC to the second, as in "2026-11-23T02:06:54Z"."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
