"""Make external text safe to display: identifiers, formulas and paths are data, never instructions."""

from __future__ import annotations

import re

# Characters that move the cursor, ring the bell, colour, change the writing direction or are not seen: C0 and C1 controls
# except tab and line feed, Unicode's marks of direction (CVE-2021-42574), separators of lines and paragraphs, soft hyphens,
# spaces without width, invisible operators, annotations and tags. Joiners stay: scripts and emoji need them.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f]"
)


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is one.

    Examples
    --------
    >>> counted(1, "crystal"), counted(2500, "DFT job")
    ('1 crystal', '2,500 DFT jobs')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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
