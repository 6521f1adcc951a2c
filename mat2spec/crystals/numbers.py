"""Numbers in text files of crystals: what Python alone takes for one, such as "0_5" or digits of other scripts, is none."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?", re.ASCII)
_FRACTION = re.compile(r"([+-]?\d+)/(\d*[1-9]\d*)", re.ASCII)
# Uncertainty of the last digits, also where a program has cut it off.
_WITH_UNCERTAINTY = re.compile(r"([^()\s]+)\(\d*\.?\d*\)?", re.ASCII)


def plain_number(text: str) -> float | None:
    """A decimal number, also with the exponent of Fortran; None for any other text.

    Examples
    --------
    >>> plain_number("-.5"), plain_number("5.0D-1"), plain_number("0_5")
    (-0.5, 0.5, None)
    """
    return float(re.sub("[dD]", "e", text)) if _NUMBER.fullmatch(text) else None


def measured_number(text: str) -> float | None:
    """As `plain_number`, with or without its uncertainty in parentheses, as in "5.640(2)"."""
    text = text.strip()
    found = _WITH_UNCERTAINTY.fullmatch(text)
    return plain_number(found[1] if found else text)


def number_or_fraction(text: str) -> float | None:
    """As `measured_number`, or a fraction as in "1/3"."""
    found = _FRACTION.fullmatch(text.strip())
    return int(found[1]) / int(found[2]) if found else measured_number(text)
