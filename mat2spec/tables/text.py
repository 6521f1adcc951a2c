"""Make external text safe to display: identifiers, formulas and paths are data, never instructions."""

from __future__ import annotations

import re

# Characters that move the cursor, ring the bell, colour or change the writing direction: C0 and C1 controls except tab
# and line feed, and Unicode direction marks (CVE-2021-42574).
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str, encoding: str = "utf-8") -> str:
    r"""Text with control characters and unencodable ones written as escapes, as in "\x1b[31m".

    Examples
    --------
    >>> print(visible("SrVO3\x1b[2J"))
    SrVO3\x1b[2J
    """
    shown = _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def one_line(text: str) -> str:
    """Text in one line, for names: as `visible`, with line feeds and tabs also escaped."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")
