"""Child processes with a time limit that never outlive their run: one per job, or a server for many jobs."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
        Exit status; if negative, the signal that ended it.
    timed_out
        Whether it was stopped by the time limit.
    stopped
        Whether it was stopped with its group, e.g. by Ctrl-C.
    wall_seconds
        Run time in seconds.
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
        self._idle_servers: dict[tuple[str, ...], list[subprocess.Popen[bytes]]] = {}
        self._stopping = threading.Event()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called: no more children are started."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Kill all children and start no more."""
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
            # In its own session: Ctrl-C in the terminal reaches only the parent, which then ends the child.
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

    def run_served(
        self,
        command: Sequence[str],
        request: Mapping[str, str],
        *,
        log: Path,
        environment: Mapping[str, str],
        time_limit_s: float,
    ) -> ChildResult:
        """Send a request to a server: a child that takes one per line and answers each with `{"returncode": ...}`.

        An idle server of that command is used, or a new one started; it ends with `close` or `stop`. A server that dies
        or exceeds the time limit is replaced at the next request.

        Raises
        ------
        OSError
            If the server cannot be started.
        """
        started = time.monotonic()
        server = self._take_server(tuple(command), log, environment)
        if server is None:
            return ChildResult(-signal.SIGKILL, timed_out=False, stopped=True, wall_seconds=0.0)
        answer = _ask(server, request, time_limit_s)
        seconds = time.monotonic() - started
        if answer is not None and server.poll() is None:
            with self._lock:
                self._idle_servers.setdefault(tuple(command), []).append(server)
            return ChildResult(answer, timed_out=False, stopped=self.is_stopping, wall_seconds=seconds)
        timed_out = server.poll() is None and seconds >= time_limit_s
        self._discard(server)
        return ChildResult(server.returncode or -signal.SIGKILL, timed_out, self.is_stopping, seconds)

    def _take_server(
        self, command: tuple[str, ...], log: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes] | None:
        with log.open("ab") as output, self._lock:
            if self.is_stopping:
                return None
            idle = self._idle_servers.get(command, [])
            while idle:
                server = idle.pop()
                if server.poll() is None:
                    return server
                self._children.discard(server)
            server = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )
            self._children.add(server)
        return server

    def close(self) -> None:
        """End the idle servers; busy children are left alone."""
        with self._lock:
            servers = [server for idle in self._idle_servers.values() for server in idle]
            self._idle_servers.clear()
        for server in servers:
            self._discard(server)

    def _discard(self, server: subprocess.Popen[bytes]) -> None:
        _kill_session(server)
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        with self._lock:
            self._children.discard(server)

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


def _ask(server: subprocess.Popen[bytes], request: Mapping[str, str], time_limit_s: float) -> int | None:
    """Exit status of a request to a server; None if the server died or took too long."""
    if server.stdin is None or server.stdout is None:
        raise ValueError("A server is started with pipes to its standard input and output.")
    try:
        server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.flush()
    except OSError:
        return None
    ready, _, _ = select.select([server.stdout], [], [], time_limit_s)
    line = server.stdout.readline() if ready else b""
    return int(json.loads(line)["returncode"]) if line else None


def _kill_session(child: subprocess.Popen[bytes]) -> None:
    """End a child and all processes it started; no effect if all are gone."""
    if child.poll() is None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        child.wait(timeout=_SECONDS_TO_END)


_GROUP: ContextVar[ChildGroup | None] = ContextVar("child_group", default=None)


def current_group() -> ChildGroup | None:
    """The group of this thread's run; None outside a run."""
    return _GROUP.get()


@contextmanager
def member_of(group: ChildGroup) -> Iterator[None]:
    """Children that start in this block, in this thread, belong to `group`."""
    token = _GROUP.set(group)
    try:
        yield
    finally:
        _GROUP.reset(token)
