"""Tables that scripts put into pages of the documentation."""

from __future__ import annotations

from collections.abc import Sequence
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
    rows = _table_below(lines, page, heading)
    lines[rows.start : rows.stop] = [table.rstrip("\n")]
    page.write_text("\n".join(lines), encoding="utf-8")


def put_row(page: Path, heading: str, row: str) -> None:
    """Replace the row with the same first cell in the first table below a heading of a page.

    Parameters
    ----------
    page, heading
        As in `put_table`.
    row
        The new row.

    Raises
    ------
    ValueError
        As `put_table`, or if the table has no such row.
    """
    lines = page.read_text(encoding="utf-8").split("\n")
    name = row.split("|")[1]
    for index in _table_below(lines, page, heading):
        if lines[index].startswith(f"|{name}|"):
            lines[index] = row
            page.write_text("\n".join(lines), encoding="utf-8")
            return
    raise ValueError(f"The table below '{heading}' of {page.name} has no row '{name.strip()}'; add one.")


def _table_below(lines: Sequence[str], page: Path, heading: str) -> range:
    """Lines of the first table below a heading; raises as `put_table`."""
    if heading not in lines:
        raise ValueError(f"{page.name} has no heading '{heading}'.")
    start = lines.index(heading) + 1
    end = next((index for index in range(start, len(lines)) if lines[index].startswith("#")), len(lines))
    first = next((index for index in range(start, end) if lines[index].startswith("|")), None)
    if first is None:
        raise ValueError(f"'{heading}' of {page.name} has no table.")
    return range(first, next((index for index in range(first, end) if not lines[index].startswith("|")), end))
