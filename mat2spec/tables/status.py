"""Outcomes of materials: the words in the column `status` of tables."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Outcome of a prediction, a reading or a comparison; DFT jobs have additional ones."""

    OK = "ok"
    FAILED = "failed"
    STRUCTURE_CHANGED = "structure_changed"
    NOT_READ = "not_read"
    BAND_GAP_DIFFERS = "band_gap_differs"
