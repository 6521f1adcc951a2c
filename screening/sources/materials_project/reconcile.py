"""Checks that nothing is lost: the data read must add up to the server's counts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from screening.sources.materials_project.documents import normal_id
from screening.sources.materials_project.errors import DatabaseChangedError, ReconciliationError

AGAIN = "Run the same command again; if that does not help, report it to the Materials Project."


def check_version(expected: str, now: str) -> None:
    """Refuse documents that may belong to another version of the database.

    Raises
    ------
    DatabaseChangedError
        If the version is not the expected one.
    """
    if now != expected:
        raise DatabaseChangedError(
            f"The Materials Project changed from version {expected} to {now} while it was read. {AGAIN}"
        )


def check_page(documents: Sequence[dict[str, Any]], n_expected: int, number: int) -> None:
    """Refuse a page with fewer or more documents than the server announced, or with duplicates.

    Raises
    ------
    ReconciliationError
        If the page does not add up.
    """
    nameless = sum(1 for document in documents if not document.get("material_id"))
    if nameless:
        raise ReconciliationError(f"{nameless} documents of page {number + 1} have no material_id. {AGAIN}")
    if len(documents) != n_expected:
        raise ReconciliationError(
            f"Page {number + 1} of the Materials Project's answer has {len(documents)} documents instead of the "
            f"{n_expected} announced; none may be lost. {AGAIN}"
        )
    n_different = len({document["material_id"] for document in documents})
    if n_different != n_expected:
        raise ReconciliationError(
            f"Page {number + 1} of the Materials Project's answer lists {n_expected - n_different} documents twice. {AGAIN}"
        )


def check_asked(documents: Sequence[dict[str, Any]], asked: Collection[str]) -> None:
    """Refuse an answer that lacks materials requested by id.

    Raises
    ------
    ReconciliationError
        If one is missing, or one was not requested.
    """
    check_page(documents, len(documents), 0)
    got = {normal_id(document["material_id"]) for document in documents}
    missing, surplus = sorted(set(asked) - got), sorted(got - set(asked))
    if missing or surplus:
        raise ReconciliationError(
            f"Of {len(asked)} materials requested by id, {len(missing)} are missing and {len(surplus)} others were sent, "
            f"e.g. {(missing or surplus)[0]}. {AGAIN}"
        )


def check_total(material_ids: Sequence[str], n_expected: int, n_counted_now: int) -> None:
    """Refuse a complete result that does not add up.

    Parameters
    ----------
    material_ids
        All materials read.
    n_expected
        The server's count before reading.
    n_counted_now
        Its count afterwards.

    Raises
    ------
    ReconciliationError
        If materials are missing or repeated, or the count has changed.
    """
    n_read, n_different = len(material_ids), len(set(material_ids))
    if n_different == n_read == n_expected == n_counted_now:
        return
    raise ReconciliationError(
        f"The Materials Project counted {n_expected:,} materials before and {n_counted_now:,} after they were read, and "
        f"{n_read:,} were read, {n_read - n_different:,} of them twice. The pages are discarded: none may be lost. "
        f"{AGAIN}"
    )
