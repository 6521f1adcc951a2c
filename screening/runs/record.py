"""The files of a run folder besides its tables: the record `run.json`, locks, and `results/latest`."""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mat2spec.tables import locks
from mat2spec.tables.files import (
    TableError,
    atomic_file,
    explain_os_error,
    parse_json,
    refuse_special,
    remove_unfinished_files,
)
from mat2spec.tables.provenance import DISTRIBUTION, hash_json, package_versions, utc_now

logger = logging.getLogger(__name__)

RUN_FILE = "run.json"
LOCK_FILE = ".lock"
UPDATE_LOCK_FILE = ".update.lock"
LATEST = "latest"
# What a record holds by name, where it has it.
_MAPPINGS = ("settings", "weights_hashes", "versions", "stages")
# Present while a process works on the run, and left behind if the process was killed: such a run is unfinished even if
# it was killed after writing its last table.
OPEN_MARK = ".open"
# Beside the run folders, only while one is created or removed.
NEW_PREFIX, DISCARDED_PREFIX, LATEST_PREFIX = ".new-", ".discarded-", ".latest-"
# Seconds to wait for another process that creates a run or updates run.json: both take milliseconds.
SHORT_WAIT_S = 30.0


class RunStatus(StrEnum):
    """State of a run; an unfinished run can be resumed."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    FINISHED = "finished"


class RunError(RuntimeError):
    """A run folder cannot be used as requested; the message says why and what to do."""


class RunLockedError(RunError):
    """Another process works on the same run."""


def point_latest(run: Path) -> None:
    """Point `latest` beside a run folder to it: a symbolic link, or a file with its name where links are not possible.

    Raises
    ------
    TableError
        If neither can be written.
    """
    latest = run.parent / LATEST
    temporary = run.parent / f"{LATEST_PREFIX}{uuid.uuid4().hex[:8]}"
    try:
        temporary.symlink_to(run.name, target_is_directory=True)
    except (OSError, NotImplementedError):
        with atomic_file(latest) as file:
            file.write(run.name.encode())
        return
    try:
        temporary.replace(latest)
    except OSError as error:
        temporary.unlink()
        raise explain_os_error(error, latest, "write") from error


def latest_run(results_dir: Path) -> Path:
    """Folder of the last finished run.

    Raises
    ------
    RunError
        If no run has finished, or the last one is gone.
    """
    latest = results_dir / LATEST
    if results_dir.exists() and not results_dir.is_dir():
        raise RunError(f"{results_dir} is a file; give the folder that holds the runs.")
    if latest.is_file() and not latest.is_symlink():
        # Only a name, never a path out of the folder.
        target = results_dir / Path(latest.read_text(encoding="utf-8", errors="replace").strip()).name
    elif latest.is_symlink():
        target = results_dir / latest.readlink().name
    else:
        raise RunError(f"No run in {results_dir} has finished yet. {_what_is_there(results_dir)}")
    if not (target / RUN_FILE).exists():
        raise RunError(f"{latest} points to {target.name}, which is gone. Run `mat2spec screen` again.")
    return target


def _what_is_there(results_dir: Path) -> str:
    """What to do where no run has finished."""
    runs = list_runs(results_dir)
    if not runs:
        return "Run `mat2spec screen` first."
    return f"The last one, {runs[-1]['run_id']}, is {runs[-1].get('status', 'unfinished')}: name it to see what it has so far."


def list_runs(results_dir: Path) -> list[dict[str, Any]]:
    """The `run.json` of each run, oldest first; unreadable runs are logged and left out."""
    runs = []
    for file in sorted(results_dir.glob(f"*/{RUN_FILE}")):
        if file.parent.is_symlink() or file.parent.name.startswith("."):
            continue
        try:
            # A renamed folder gives the run its new name.
            runs.append({**read_record(file), "run_id": file.parent.name})
        except RunError as error:
            logger.warning("%s", error)
    return sorted(runs, key=lambda info: (str(info.get("created", "")), info["run_id"]))


def find_resumable(results_dir: Path, fingerprint: str) -> Path | None:
    """Folder of the last unfinished run with a fingerprint, or None."""
    same = [results_dir / info["run_id"] for info in list_runs(results_dir) if info["fingerprint"] == fingerprint]
    open_runs = [path for path in same if not _is_closed(path)]
    return open_runs[-1] if open_runs else None


def _is_closed(path: Path) -> bool:
    """Whether a run is finished and its process ended normally."""
    return read_record(path / RUN_FILE)["status"] == RunStatus.FINISHED and not (path / OPEN_MARK).exists()


def remove_leftovers(results_dir: Path) -> None:
    """Remove leftovers of killed processes beside the run folders; requires the lock of the results folder."""
    for prefix in (NEW_PREFIX, DISCARDED_PREFIX, LATEST_PREFIX):
        for leftover in results_dir.glob(f"{prefix}*"):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
    remove_unfinished_files(results_dir)


def new_run_id(results_dir: Path, fingerprint: str) -> str:
    """Name of a new run: time in UTC and start of its fingerprint."""
    stamp = utc_now().replace("-", "").replace(":", "")
    run_id = f"{stamp}-{fingerprint[:8]}"
    attempt = 2
    while (results_dir / run_id).exists():
        run_id = f"{stamp}-{fingerprint[:8]}-{attempt}"
        attempt += 1
    return run_id


def take_lock(path: Path) -> FileLock:
    """Lock a run for this process; the operating system frees it if the process dies."""
    try:
        return locks.take_lock(path / LOCK_FILE)
    except Timeout as error:
        raise RunLockedError(
            f"Another process is working on the run {path.name} with the same settings. Wait until it ends, or stop it "
            "and run the command again to resume the run."
        ) from error


def is_locked(path: Path) -> bool:
    """Whether a process is working on the run in this folder; the system frees the lock of one that died.

    Where only others may write the folder, this cannot be found out and counts as yes.
    """
    try:
        take_lock(path).release()
    except (RunLockedError, TableError):
        return True
    return False


@contextmanager
def short_lock(path: Path) -> Iterator[None]:
    """Hold a lock briefly."""
    try:
        lock = locks.take_lock(path, SHORT_WAIT_S)
    except Timeout as error:
        raise RunLockedError(f"Another process has held {path} for more than {SHORT_WAIT_S:g} s; stop it.") from error
    try:
        yield
    finally:
        lock.release()


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write a `run.json` atomically."""
    with atomic_file(path) as file:
        file.write(json.dumps(content, indent=2).encode() + b"\n")


def read_record(path: Path) -> dict[str, Any]:
    """Read a `run.json`.

    Raises
    ------
    RunError
        If it is missing, damaged or not a record.
    """
    try:
        refuse_special(path)
        content = parse_json(path.read_text(encoding="utf-8"))
    except TableError as error:
        raise RunError(str(error)) from error
    except OSError as error:
        raise RunError(str(explain_os_error(error, path, "read"))) from error
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}). Remove its folder; the next run creates a new one.") from error
    if (
        not isinstance(content, dict)
        or not {"run_id", "status", "fingerprint"} <= content.keys()
        or not all(isinstance(content.get(name, {}), dict) for name in _MAPPINGS)
    ):
        raise RunError(f"{path} is not the record of a run. Remove its folder; the next run creates a new one.")
    return content


def run_fingerprint(settings: Mapping[str, object], weights_hashes: Mapping[str, str], source_fingerprint: str) -> str:
    """SHA-256 of all that determines a run's results: settings, weights, source and version of this package."""
    return hash_json(
        {
            "settings": settings,
            "weights_hashes": dict(weights_hashes),
            "source_fingerprint": source_fingerprint,
            "version": package_versions()[DISTRIBUTION],
        }
    )
