"""How the command line ends: sentences instead of tracebacks, and exit codes."""

from __future__ import annotations

import signal
import traceback
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

OUR_PACKAGES = frozenset({"mat2spec", "screening", "dft_validation", "flows"})


class ExitCode(IntEnum):
    """Exit codes of the program."""

    DONE = 0
    FAILED = 1
    WRONG_USE = 2
    INTERRUPTED = 130
    TERMINATED = 143


class TerminatedError(KeyboardInterrupt):
    """The program received SIGTERM or SIGHUP; handled like Ctrl-C."""


def end_on_sigterm() -> None:
    """Turn SIGTERM and SIGHUP into an exception, so that files are closed and the run folder records what happened."""
    signal.signal(signal.SIGTERM, _raise_terminated)
    # Sent when the terminal is closed; if nohup has it ignored, it stays ignored.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _raise_terminated)


def hear_interrupts() -> None:
    """Restore SIGINT where a shell script that starts the program with `&` had it ignored.

    Children inherit that, and serving stops flow runs by SIGINT.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def resumable(where: str) -> Iterator[None]:
    """Replace an interruption by a sentence that says how to resume."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        kind = TerminatedError if isinstance(interrupt, TerminatedError) else KeyboardInterrupt
        raise kind(
            f"Stopped. Everything finished is kept in {where}; run the same command again to resume."
        ) from interrupt


def _raise_terminated(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  the signature of a handler
    raise TerminatedError


def sentence_of(error: BaseException) -> str | None:
    """A sentence for the user, or None where only a traceback helps.

    Errors that our packages raise on purpose are sentences. Of others only those of the operating
    system are, since they name the file and what is wrong with it, and packages that are not installed.
    """
    if isinstance(error, OSError) and error.strerror:
        where = f" {error.filename}" if error.filename else ""
        return f"{error.strerror}:{where}" if where else f"{error.strerror}."
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if package not in OUR_PACKAGES:
            return (
                f"This command needs the Python package '{package}', which is not installed. An environment made with "
                "requirements-predict.txt predicts and screens; docs/install.md says what to add for the other commands."
            )
    if isinstance(error, ValueError | RuntimeError | OSError | LookupError) and _raised_by_us(error):
        return str(error.args[0]) if error.args else str(error)
    return None


def _raised_by_us(error: BaseException) -> bool:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] in OUR_PACKAGES
