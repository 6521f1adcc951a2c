"""What became of a material: the words in the column `status` of tables."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Outcome of a prediction, of a reading or of a comparison; DFT jobs have further ones of their own."""

    OK = "ok"
    FAILED = "failed"
    STRUCTURE_CHANGED = "structure_changed"
    NOT_READ = "not_read"
