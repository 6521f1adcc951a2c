"""Reading the results of a query: pages in parallel, each checked and stored, then one table.

The documents come sorted by identifier in pages. A page is kept only if the database had the same
version after it as at the beginning, so pages of an interrupted reading can be trusted. The server
leaves out documents whose hull distance or band gap is unknown; if the filters keep such
materials, they are found by a scan of all identifiers and read by id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import numpy as np
import pyarrow as pa

from mat2spec.tables.columns import Column
from screening.progress import Progress
from screening.settings import MaterialsProjectSettings
from screening.sources.materials_project import reconcile
from screening.sources.materials_project.cache import QueryCache
from screening.sources.materials_project.client import MaterialsProject
from screening.sources.materials_project.counts import FilterCount, ServerCounts, count_on_server, count_optional_limits
from screening.sources.materials_project.documents import (
    CLAIMS_EDOS,
    PROVES_EDOS,
    first_initial_structures,
    normal_id,
    page_table,
)
from screening.sources.materials_project.errors import DatabaseChangedError, ReconciliationError
from screening.sources.materials_project.query import SCAN_FIELDS, Query
from screening.sources.materials_project.table import write_crystals

Document = dict[str, Any]

# Parts of a reading: documents within all limits, the scan for unknown values, documents read by id.
MATCHING = "matching"
SCAN = "scan"
UNKNOWN = "unknown"
# Identifiers that fit into the address of one request.
NAMES_PER_REQUEST = 100


class Reading:
    """One reading of a query into its cache folder.

    Parameters
    ----------
    client
        The Materials Project.
    query
        What is read.
    cache
        Where it is kept.
    settings
        Page size and number of parallel requests.
    progress
        Called with the materials read so far and their number.
    """

    def __init__(
        self,
        client: MaterialsProject,
        query: Query,
        cache: QueryCache,
        settings: MaterialsProjectSettings,
        progress: Progress,
    ) -> None:
        self._client = client
        self._query = query
        self._cache = cache
        self._settings = settings
        self._progress = progress

    def run(self) -> None:
        """Read what is missing, reconcile it and write the table.

        Raises
        ------
        DatabaseChangedError
            If the database changed to a new version meanwhile; the pages are discarded.
        ReconciliationError
            If the data read do not add up.
        MaterialsProjectError
            If the server is unreachable or rejects a request; the pages are kept.
        """
        try:
            counts = self._plan()
            n_wanted = self._limited(counts.n_matching)
            self._read_matching(n_wanted, counts.n_matching)
            rows, names = counts.rows, list[str]()
            if counts.has_unknown and n_wanted == counts.n_matching:
                rows, names = self._scan(counts)
            names = names[: self._limited(n_wanted + len(names)) - n_wanted]
            self._read_by_name(names)
            self._finish(rows, counts.n_matching, n_wanted, len(names))
        except DatabaseChangedError:
            self._cache.discard_pages()
            raise

    def _limited(self, n_materials: int) -> int:
        return min(n_materials, self._query.n_materials or n_materials)

    def _plan(self) -> ServerCounts:
        """The server's counts; pages of an earlier reading are used only if they are unchanged."""
        counts = count_on_server(self._client, self._query)
        plan = json.loads(json.dumps({"counts": counts, "query": self._query.describe()}))
        if self._cache.read_plan() != plan:
            self._cache.discard_pages()
            self._cache.write_plan(plan)
        return counts

    def _read_matching(self, n_wanted: int, n_matching: int) -> None:
        size = self._settings.mp_page_size

        def read(number: int) -> pa.Table:
            documents = self._client.page(self._query, number, size, self._query.fields)
            reconcile.check_page(documents, min(size, n_matching - number * size), number)
            return self._table(documents)

        self._read_pages(MATCHING, -(-n_wanted // size), read, lambda done: min(done * size, n_wanted), n_wanted)

    def _scan(self, counts: ServerCounts) -> tuple[list[FilterCount], list[str]]:
        """The counts with unknown values kept, and the ids of the materials that have them."""
        size, n_base, base = self._settings.mp_page_size, counts.n_base, self._query.without_optional_limits()

        def read(number: int) -> pa.Table:
            documents = self._client.page(base, number, size, SCAN_FIELDS)
            reconcile.check_page(documents, min(size, n_base - number * size), number)
            return _scan_table(documents)

        n_pages = -(-n_base // size)
        self._read_pages(SCAN, n_pages, read, lambda done: min(done * size, n_base), n_base)
        table = pa.concat_tables([self._cache.read_page(SCAN, number) for number in range(n_pages)])
        limits = self._query.optional_limits
        values = {limit.parameter: table[limit.parameter].to_numpy() for limit in limits}
        n_firm_rows = len(counts.rows) - len(limits)
        rows, passes, unknown = count_optional_limits(counts.rows[:n_firm_rows], limits, values)
        if int(passes.sum() - unknown.sum()) != counts.n_matching:
            raise ReconciliationError(
                f"The Materials Project counts {counts.n_matching:,} materials within the limits, but by their values there are "
                f"{int(passes.sum() - unknown.sum()):,}. {reconcile.AGAIN}"
            )
        return rows, [str(name) for name in table[Column.MATERIAL_ID].to_numpy()[unknown]]

    def _read_by_name(self, names: list[str]) -> None:
        """Materials whose hull distance or band gap is unknown."""

        def read(number: int) -> pa.Table:
            asked = names[number * NAMES_PER_REQUEST : (number + 1) * NAMES_PER_REQUEST]
            documents = self._client.summaries(asked, self._query)
            reconcile.check_asked(documents, asked)
            return self._table(documents)

        n_pages = -(-len(names) // NAMES_PER_REQUEST)
        self._read_pages(UNKNOWN, n_pages, read, lambda done: min(done * NAMES_PER_REQUEST, len(names)), len(names))

    def _read_pages(
        self, part: str, n_pages: int, read: Callable[[int], pa.Table], done_of: Callable[[int], int], total: int
    ) -> None:
        """Read the missing pages, several in parallel; the first failure ends it."""
        missing = [number for number in range(n_pages) if not self._cache.has_page(part, number)]
        done = n_pages - len(missing)

        def keep(number: int) -> None:
            table = read(number)
            reconcile.check_version(self._cache.db_version, self._client.db_version())
            self._cache.write_page(part, number, table)

        with ThreadPoolExecutor(self._settings.mp_parallel_requests) as pool:
            futures = [pool.submit(keep, number) for number in missing]
            try:
                for future in as_completed(futures):
                    future.result()
                    done += 1
                    self._progress(done_of(done), total)
            except BaseException:
                self._client.stop()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _table(self, documents: Sequence[Document]) -> pa.Table:
        """Rows of summary documents, with the unrelaxed structures if these are requested."""
        if self._query.cells == "relaxed":
            return page_table(documents)
        table = page_table(documents, {})
        known = np.asarray(table[CLAIMS_EDOS]) & np.asarray(table[PROVES_EDOS])
        names = [str(name) for name in np.asarray(table[Column.MATERIAL_ID])[~known]]
        structures: dict[str, Any] = {}
        for start in range(0, len(names), NAMES_PER_REQUEST):
            asked = names[start : start + NAMES_PER_REQUEST]
            structures |= first_initial_structures(self._client.initial_structures(asked))
        return page_table(documents, structures)

    def _finish(self, rows: list[FilterCount], n_matching: int, n_wanted: int, n_names: int) -> None:
        """Check the complete result and merge its pages into one table."""
        size = self._settings.mp_page_size
        n_pages = -(-n_wanted // size)
        pages = [(MATCHING, number) for number in range(n_pages)]
        pages += [(UNKNOWN, number) for number in range(-(-n_names // NAMES_PER_REQUEST))]
        self._reconcile(pages, min(n_pages * size, n_matching) + n_names, n_matching)
        n_found, n_rows = rows[-1].remaining, n_wanted + n_names
        if n_rows < n_found:
            rows = [*rows, FilterCount("limit of the source", n_found - n_rows, 0, 0, n_rows)]
        write_crystals(self._cache, self._query, pages, rows)
        self._cache.discard_pages()

    def _reconcile(self, pages: list[tuple[str, int]], n_expected: int, n_matching: int) -> None:
        n_moved = self._client.count(self._query.criteria()) - n_matching
        reconcile.check_version(self._cache.db_version, self._client.db_version())
        columns = [Column.MATERIAL_ID]
        ids = [name for page in pages for name in self._cache.read_page(*page, columns)[columns[0]].to_pylist()]
        try:
            reconcile.check_total(ids, n_expected, n_expected + n_moved)
        except ReconciliationError:
            self._cache.discard_pages()
            raise


def _scan_table(documents: Sequence[Document]) -> pa.Table:
    names = [name for name in SCAN_FIELDS if name != "material_id"]
    columns = {name: pa.array([document.get(name) for document in documents], type=pa.float64()) for name in names}
    return pa.table({Column.MATERIAL_ID: [normal_id(document["material_id"]) for document in documents], **columns})
