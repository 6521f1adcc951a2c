"""Child processes with a time limit that never outlive the run that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

_SECONDS_TO_END = 5.0


@dataclass(frozen=True)
class ChildResult:
    """How a child ended.

    Parameters
    ----------
    returncode
        Exit status; negative: the signal that ended it.
    timed_out
        Whether it was stopped for its time limit.
    stopped
        Whether it was stopped with its group, e.g. by Ctrl-C.
    wall_seconds
        How long it ran, in seconds.
    """

    returncode: int
    timed_out: bool
    stopped: bool
    wall_seconds: float


class ChildGroup:
    """Children of one run, which can be stopped together from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: set[subprocess.Popen[bytes]] = set()
        self._stopping = threading.Event()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called: no child starts any more."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Kill all children and start none any more."""
        with self._lock:
            self._stopping.set()
            children = list(self._children)
        for child in children:
            _kill_session(child)

    def run(
        self, command: Sequence[str], *, folder: Path, log: Path, environment: Mapping[str, str], time_limit_s: float
    ) -> ChildResult:
        """Run a command to its end or to the time limit; output goes to `log`.

        Raises
        ------
        OSError
            If the command cannot be started.
        """
        started = time.monotonic()
        with log.open("wb") as output, self._lock:
            if self.is_stopping:
                return ChildResult(-signal.SIGKILL, timed_out=False, stopped=True, wall_seconds=0.0)
            # A session of its own: Ctrl-C in the terminal reaches the parent alone, which then ends the child.
            child = subprocess.Popen(
                list(command),
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._children.add(child)
        timed_out = self._wait(child, time_limit_s)
        return ChildResult(child.returncode, timed_out, self.is_stopping, time.monotonic() - started)

    def _wait(self, child: subprocess.Popen[bytes], time_limit_s: float) -> bool:
        try:
            child.wait(timeout=time_limit_s)
        except subprocess.TimeoutExpired:
            return True
        else:
            return False
        finally:
            _kill_session(child)
            with self._lock:
                self._children.discard(child)


def _kill_session(child: subprocess.Popen[bytes]) -> None:
    """End a child and all it started; nothing happens if all are gone."""
    if child.poll() is None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        child.wait(timeout=_SECONDS_TO_END)


_GROUP: ContextVar[ChildGroup | None] = ContextVar("child_group", default=None)


def current_group() -> ChildGroup:
    """The group of this thread's run, or a new one outside any run."""
    return _GROUP.get() or ChildGroup()


@contextmanager
def member_of(group: ChildGroup) -> Iterator[None]:
    """Children that start in this block, in this thread, belong to `group`."""
    token = _GROUP.set(group)
    try:
        yield
    finally:
        _GROUP.reset(token)
