"""A page of figures, one below another."""

from __future__ import annotations

import html
from collections.abc import Sequence

from plotly.graph_objects import Figure

PAGE_WIDTH_PX = 1150
_STYLE = f"body {{ font-family: sans-serif; max-width: {PAGE_WIDTH_PX}px; margin: 2em auto; color: #222 }}"


def figures_page(figures: Sequence[Figure], title: str) -> str:
    """A self-contained HTML page: plotly's script is embedded once.

    Parameters
    ----------
    figures
        In the order of the page.
    title
        Heading, as plain text.
    """
    parts = [figure.to_html(full_html=False, include_plotlyjs=position == 0) for position, figure in enumerate(figures)]
    heading = html.escape(title)
    head = f'<head><meta charset="utf-8"><title>{heading}</title><style>{_STYLE}</style></head>'
    body = "\n".join([f"<h1>{heading}</h1>", *parts])
    return f"<!doctype html>\n<html>{head}<body>\n{body}\n</body></html>\n"
