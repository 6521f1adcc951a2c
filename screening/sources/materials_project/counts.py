"""How many materials each filter applied by the server has removed: the first rows of the screen's table of filters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from screening.sources.materials_project.client import MaterialsProject
from screening.sources.materials_project.query import Limit, Query


class FilterCount(NamedTuple):
    """One row of the table of filters, in the order of its columns."""

    filter: str
    removed: int
    unknown_removed: int
    unknown_kept: int
    remaining: int


class ServerCounts(NamedTuple):
    """The server's counts for a query.

    Parameters
    ----------
    rows
        What each filter removed.
    n_matching
        Documents within all limits, so with known values.
    n_base
        Documents within the firm limits, regardless of the optional ones.
    has_unknown
        Whether documents with an unknown value are wanted and exist.
    """

    rows: list[FilterCount]
    n_matching: int
    n_base: int
    has_unknown: bool


def count_on_server(client: MaterialsProject, query: Query) -> ServerCounts:
    """Ask how many documents pass each filter, and whether any are dropped because of unknown values."""
    rows = _first_rows(client, query)
    base = Query((), query.include_gnome)
    n_base, has_unknown = rows[-1].remaining, False
    for limit in (*query.firm_limits, *query.optional_limits):
        row = _count_limit(client, base, limit, rows[-1].remaining)
        rows.append(row)
        base = Query((*base.limits, limit), query.include_gnome)
        if limit.keep_unknown:
            has_unknown |= row.unknown_removed > 0
        else:
            n_base = row.remaining
    return ServerCounts(rows, rows[-1].remaining, n_base, has_unknown)


def _first_rows(client: MaterialsProject, query: Query) -> list[FilterCount]:
    n_deprecated = client.count({"deprecated": True})
    n_valid = client.count({"deprecated": False})
    rows = [
        FilterCount("Materials Project", 0, 0, 0, n_valid + n_deprecated),
        FilterCount("not deprecated", n_deprecated, 0, 0, n_valid),
    ]
    if not query.include_gnome:
        n_commercial = client.count(Query(()).criteria())
        rows.append(FilterCount("without GNoME", n_valid - n_commercial, 0, 0, n_commercial))
    return rows


def _count_limit(client: MaterialsProject, base: Query, limit: Limit, n_before: int) -> FilterCount:
    n_after = client.count({**base.criteria(), **limit.criteria()})
    n_unknown = 0
    if limit.keep_unknown is not None:
        n_unknown = n_before - client.count({**base.criteria(), **limit.known()})
    return FilterCount(f"{limit.name}, by the server", n_before - n_after, n_unknown, 0, n_after)


def count_optional_limits(
    rows: list[FilterCount], limits: tuple[Limit, ...], values: dict[str, NDArray[np.float64]]
) -> tuple[list[FilterCount], NDArray[np.bool_], NDArray[np.bool_]]:
    """Count, from the values of all documents, the limits that documents without the value pass.

    Parameters
    ----------
    rows
        Rows of the preceding filters.
    limits
        The optional limits.
    values
        Property of every document by its parameter, each of shape (n,); NaN where unknown.

    Returns
    -------
    rows : list of FilterCount
        The same with rows for the limits.
    passes : numpy.ndarray
        Documents that pass all limits, shape (n,).
    unknown : numpy.ndarray
        Those of them that pass some limit only because the value is unknown, shape (n,).
    """
    n_documents = len(next(iter(values.values())))
    passes, unknown = np.ones(n_documents, dtype=np.bool_), np.zeros(n_documents, dtype=np.bool_)
    for limit in limits:
        missing = np.isnan(values[limit.parameter])
        kept = passes & (limit.passes(values[limit.parameter]) | missing)
        name = f"{limit.name}, by the server"
        rows = [*rows, FilterCount(name, int((passes & ~kept).sum()), 0, int((kept & missing).sum()), int(kept.sum()))]
        passes, unknown = kept, unknown | missing
    return rows, passes, passes & unknown
