"""Checks of schedules: wrong cron expressions and time zones are refused when set, not when a server reads them.

Prefect's own parser would do, but importing Prefect takes over a second and settings are read by every command.
"""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Name, minimum, maximum, and words that stand for numbers, starting at the minimum.
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
# Days of each month, in the longest year.
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:/([0-9]+))?")


def check_cron(text: str) -> str:
    """A cron expression of five fields.

    Raises
    ------
    ValueError
        If it is not valid; the message says which field is wrong.

    Examples
    --------
    >>> check_cron("0 2 * * mon-fri")
    '0 2 * * mon-fri'
    """
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"'{text}' is not a cron expression: it has {len(fields)} fields instead of minute, hour, day of the month, month "
            "and day of the week, as in '0 2 * * 1' (Mondays at 02:00)."
        )
    values = []
    for field, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
        values.append(set[int]())
        for part in field.split(","):
            allowed = _values(part, low, high, words)
            if allowed is None:
                raise ValueError(
                    f"'{part}' is not a valid {name} in the cron expression '{text}': give a number from {low} to {high}, a "
                    f"range such as {low}-{high}, or *, optionally with a step as in */2."
                )
            values[-1].update(allowed)
    _, _, days, months, _ = values
    if min(days) > max(_LONGEST[month - 1] for month in months):
        raise ValueError(f"'{text}' is not a cron expression of any date: these months have no day {min(days)}.")
    return text


def check_timezone(name: str) -> str:
    """A time zone of the IANA list.

    Raises
    ------
    ValueError
        If there is no such time zone.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"Unknown time zone '{name}'; give one such as Europe/Zurich or UTC.") from error
    return name


def _values(part: str, low: int, high: int, words: tuple[str, ...]) -> range | None:
    """Values that a part of a field allows; None if it is not valid."""
    found = _PART.fullmatch(part)
    if found is None or (found[1] == "*" and found[2] is not None):
        return None
    step = 1 if found[3] is None else int(found[3])
    first = low if found[1] == "*" else _number(found[1], low, words)
    # A step without a range goes on to the end.
    last = high if found[1] == "*" or (found[3] and not found[2]) else _number(found[2] or found[1], low, words)
    if step < 1 or first is None or last is None or not low <= first <= last <= high:
        return None
    return range(first, last + 1, step)


def _number(text: str, low: int, words: tuple[str, ...]) -> int | None:
    if text in words:
        return low + words.index(text)
    return int(text) if text.isdecimal() else None
