"""The table made from the pages of a reading: a table of crystals like that of any other source.

Besides the columns of `screening.sources.parquet` it holds `has_edos`, `license` and `last_updated`. Materials
with an eDOS are never predicted, so their coordinates are left out.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mat2spec.tables.columns import Column
from mat2spec.tables.files import atomic_file
from mat2spec.tables.parquet import COMPRESSION
from screening.sources.base import DB_VERSION_KEY, FILTER_COUNTS_KEY
from screening.sources.materials_project.cache import QueryCache
from screening.sources.materials_project.counts import FilterCount
from screening.sources.materials_project.documents import CLAIMS_EDOS, NO_STRUCTURE, PROVES_EDOS, page_schema
from screening.sources.materials_project.query import Query

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EdosEvidence:
    """Which materials have an eDOS: claimed by `has_props`, proved by its summary in the document.

    `has_props` is known to be wrong in both directions. The proof counts, so a material with a false claim stays
    a candidate; only if no document has a proof, that is, if the server gives none, do the claims count.

    Parameters
    ----------
    claims, proves
        One flag per material, shape (n,).
    """

    claims: NDArray[np.bool_]
    proves: NDArray[np.bool_]

    @property
    def rule(self) -> str:
        """The evidence used: "dos", the document's own summary, or "has_props"."""
        return "dos" if self.proves.any() else "has_props"

    @property
    def has_edos(self) -> NDArray[np.bool_]:
        """Materials with an eDOS, shape (n,)."""
        return self.proves if self.proves.any() else self.claims

    @property
    def n_lies(self) -> int:
        """Materials whose claim contradicts the evidence used."""
        return int((self.claims != self.has_edos).sum())


def write_crystals(cache: QueryCache, query: Query, pages: list[tuple[str, int]], rows: list[FilterCount]) -> None:
    """Write the table of a reading from its pages, one of them in memory at a time.

    Parameters
    ----------
    cache
        Where the pages are and where the table goes.
    query
        The query.
    pages
        Part and number of the pages, in the order of the rows.
    rows
        What each filter of the server removed; the last one gives the number of rows of the table.
    """
    n_rows = rows[-1].remaining
    evidence = _evidence(cache, pages, n_rows)
    n_without = int((_flags(cache, pages, NO_STRUCTURE)[:n_rows] & ~evidence.has_edos).sum())
    _say(evidence, n_without, n_rows)
    metadata = {
        DB_VERSION_KEY: cache.db_version,
        FILTER_COUNTS_KEY: json.dumps(rows),
        "query": json.dumps(query.describe(), sort_keys=True),
        "edos_rule": evidence.rule,
        "contradicting_has_props": str(evidence.n_lies),
        "without_structure": str(n_without),
    }
    schema = _table_schema().with_metadata(metadata)
    start = 0
    with atomic_file(cache.table_path) as file, pq.ParquetWriter(file, schema, compression=COMPRESSION) as writer:
        for page in pages:
            table = cache.read_page(*page).slice(0, n_rows - start)
            writer.write_table(_finished(table, evidence.has_edos[start : start + len(table)], schema))
            start += len(table)


def _evidence(cache: QueryCache, pages: list[tuple[str, int]], n_rows: int) -> EdosEvidence:
    return EdosEvidence(
        claims=_flags(cache, pages, CLAIMS_EDOS)[:n_rows], proves=_flags(cache, pages, PROVES_EDOS)[:n_rows]
    )


def _flags(cache: QueryCache, pages: list[tuple[str, int]], column: str) -> NDArray[np.bool_]:
    columns = [np.asarray(cache.read_page(*page, [column])[column]) for page in pages]
    return np.concatenate([np.empty(0, dtype=np.bool_), *columns]).astype(np.bool_)


def _say(evidence: EdosEvidence, n_without: int, n_rows: int) -> None:
    """Log anomalies of the documents."""
    if evidence.n_lies:
        logger.warning(
            "has_props is wrong about the eDOS of %d of %d materials; the content of the documents counts.",
            evidence.n_lies,
            n_rows,
        )
    if n_without:
        logger.warning(
            "%d of %d materials have no usable structure; their predictions will be listed as failed.",
            n_without,
            n_rows,
        )


def _table_schema() -> pa.Schema:
    dropped = {CLAIMS_EDOS, PROVES_EDOS, NO_STRUCTURE}
    fields = [field for field in page_schema() if field.name not in dropped]
    return pa.schema([*fields, pa.field(Column.HAS_EDOS, pa.bool_())])


def _finished(table: pa.Table, has_edos: NDArray[np.bool_], schema: pa.Schema) -> pa.Table:
    """A page with what is known about the eDOS, and without the coordinates of materials that have one."""
    table = table.append_column(Column.HAS_EDOS, pa.array(has_edos)).select(schema.names)
    for column in (Column.LATTICE, Column.FRAC_COORDS):
        index = table.column_names.index(column)
        nothing = pa.scalar(None, type=table.schema.field(index).type)
        table = table.set_column(index, column, pc.if_else(pa.array(has_edos), nothing, table[column]))
    return table.cast(schema)
