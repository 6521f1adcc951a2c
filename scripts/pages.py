"""Tables that scripts put into pages of the documentation."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def put_table(page: Path, heading: str, table: str) -> None:
    """Replace the first table below a heading of a page.

    Parameters
    ----------
    page
        A Markdown file.
    heading
        The whole line of the heading.
    table
        The new table.

    Raises
    ------
    ValueError
        If the page has no such heading, or no table before the next one.
    """
    lines = page.read_text(encoding="utf-8").split("\n")
    if heading not in lines:
        raise ValueError(f"{page.name} has no heading '{heading}'.")
    start = lines.index(heading) + 1
    end = next((index for index in range(start, len(lines)) if lines[index].startswith("#")), len(lines))
    rows = [index for index in range(start, end) if lines[index].startswith("|")]
    if not rows:
        raise ValueError(f"'{heading}' of {page.name} has no table.")
    last = rows[0]
    while last < end and lines[last].startswith("|"):
        last += 1
    page.write_text("\n".join([*lines[: rows[0]], table.rstrip("\n"), *lines[last:]]), encoding="utf-8")
