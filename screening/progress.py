"""Progress of a long step: a function called with how many of how many are done."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Report nothing."""


def adding_up(progress: Progress, total: int) -> Callable[[int], None]:
    """A function that takes how many more are done, and reports their sum."""
    done = 0

    def on_more(n_more: int) -> None:
        nonlocal done
        done += n_more
        progress(done, total)

    return on_more
