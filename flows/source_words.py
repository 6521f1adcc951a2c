"""The one word that names a source, in the command line and in the parameters of a flow run."""

from __future__ import annotations

from pathlib import Path

NAMED_SOURCES = frozenset({"catalogue", "materials-project", "materials-project-open"})
_SHORT_NAMES = {"materials-project": "mp", "materials-project-open": "mp-open"}


def named_source(word: Path | str) -> dict[str, str | None]:
    """Kind and path of the source that a word names: a built-in source, a Parquet table, else files of crystals."""
    if str(word) in NAMED_SOURCES:
        return {"kind": str(word), "path": None}
    return {"kind": "parquet" if str(word).endswith(".parquet") else "files", "path": str(word)}


def source_word(kind: str, path: Path | None) -> str:
    """The word that names a source, the opposite of `named_source`."""
    return str(kind) if kind in NAMED_SOURCES else str(path)


def short_word(word: str) -> str:
    """A source in the name of a run, e.g. "mp" or "crystals.parquet"."""
    return _SHORT_NAMES.get(word) or Path(word).name
