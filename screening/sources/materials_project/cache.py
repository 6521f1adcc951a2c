"""Data read from the Materials Project, on disk: pages during reading, one table when complete.

Each query of each version of the database has a folder, `<cache>/<db_version>/<hash of the query>/`.
Pages are kept even after errors, so reading resumes where it stopped; a screen reads the table made from
them, and the same query of the same version gives the same bytes.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import Timeout

from mat2spec.tables.files import atomic_file, make_folder, parse_json, remove_unfinished_files
from mat2spec.tables.locks import take_lock
from mat2spec.tables.parquet import read_table, write_table
from screening.settings import MaterialsProjectSettings
from screening.sources.materials_project.errors import MaterialsProjectError
from screening.sources.materials_project.query import Query

TABLE_FILE = "crystals.parquet"
PLAN_FILE = "plan.json"
LOCK_FILE = ".lock"


class QueryCache:
    """Folder of one query of one version of the database.

    Parameters
    ----------
    settings
        Cache folder, address and page size.
    db_version
        Version of the database.
    query
        The query.
    """

    def __init__(self, settings: MaterialsProjectSettings, db_version: str, query: Query) -> None:
        name = query.fingerprint(settings.mp_endpoint)[:16]
        self.db_version = db_version
        self.folder = settings.mp_cache_dir / re.sub(r"[^A-Za-z0-9._-]", "_", db_version) / name
        # Pages of another size are different pages.
        self._pages = self.folder / f"pages-{settings.mp_page_size}"

    @property
    def table_path(self) -> Path:
        """The complete table; it exists only once it is reconciled."""
        return self.folder / TABLE_FILE

    @property
    def is_complete(self) -> bool:
        """Whether everything has been read."""
        return self.table_path.exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from reading the same data at the same time.

        Raises
        ------
        MaterialsProjectError
            If another process is already reading them.
        """
        try:
            lock = take_lock(self.folder / LOCK_FILE)
        except Timeout as error:
            raise MaterialsProjectError(
                f"Another process is reading the same data from the Materials Project into {self.folder}. Wait until it ends "
                "and run the command again: it will find the table there."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def read_plan(self) -> dict[str, Any] | None:
        """What an earlier, unfinished reading was going to read; None if there was none."""
        path = self._pages / PLAN_FILE
        if not path.exists():
            return None
        try:
            plan = parse_json(path.read_text(encoding="utf-8"))
        except ValueError:
            # Written atomically; if this is anything else, the pages beside it cannot be trusted.
            return None
        return plan if isinstance(plan, dict) else None

    def write_plan(self, plan: dict[str, Any]) -> None:
        """Record what is to be read, before any page."""
        make_folder(self._pages)
        remove_unfinished_files(self._pages)
        with atomic_file(self._pages / PLAN_FILE) as file:
            file.write(json.dumps(plan, indent=2).encode())

    def has_page(self, part: str, number: int) -> bool:
        """Whether a page exists; if so, it is complete."""
        return self._page_path(part, number).exists()

    def write_page(self, part: str, number: int, table: pa.Table) -> None:
        """Store a page."""
        write_table(self._page_path(part, number), table)

    def read_page(self, part: str, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """A page, or some of its columns."""
        return read_table(self._page_path(part, number), columns)

    def discard_pages(self) -> None:
        """Discard all pages: the table has been made from them, or they cannot be trusted."""
        shutil.rmtree(self._pages, ignore_errors=True)

    def _page_path(self, part: str, number: int) -> Path:
        return self._pages / f"{part}-{number:06d}.parquet"
