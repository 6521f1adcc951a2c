"""What a run searches for and why it ends early, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from mat2spec.tables.columns import Column
from screening.settings import ClassifySettings

_SHOWN_REASONS = 3


class TargetWords(NamedTuple):
    """How a report names what is searched for.

    Parameters
    ----------
    singular, plural
        As in "a gapped metal", "gapped metals".
    condition
        The condition, of a target of the user's; empty for gapped metals.
    """

    singular: str
    plural: str
    condition: str = ""

    @property
    def heading(self) -> str:
        """Plural with the condition."""
        return f"{self.plural} ({self.condition})" if self.condition else self.plural


GAPPED_METALS = TargetWords("a gapped metal", "gapped metals")


def target_words(condition: str) -> TargetWords:
    """Words for the setting `classify.target`.

    Examples
    --------
    >>> target_words("carriers_per_cm3 > 1e21").heading
    'hits (carriers_per_cm3 > 1e21)'
    """
    if condition == Column.IS_GAPPED_METAL:
        return GAPPED_METALS
    return TargetWords("a hit", "hits", condition)


def target_of_run(info: Mapping[str, Any]) -> TargetWords:
    """Words for what the run with this `run.json` searched for."""
    settings = ClassifySettings.model_validate(info.get("settings", {}).get("classify", {}))
    return target_words(settings.target)


def why_nothing_is_predicted(rows: pd.DataFrame) -> str:
    """The most frequent reasons of predictions that all failed."""
    reasons = rows[Column.REASON].value_counts()
    said = "; ".join(f"{reason} ({count:,})" for reason, count in reasons.head(_SHOWN_REASONS).items())
    others = f"; and {len(reasons) - _SHOWN_REASONS:,} other reasons" if len(reasons) > _SHOWN_REASONS else ""
    return f"None of the {len(rows):,} predictions succeeded: {said}{others}. All reasons are in the table predictions."


def nothing_new(counts: pd.DataFrame, release: str) -> str:
    """Why a run that looks only for what is new ends at once."""
    n_before = int(counts[Column.REMOVED].iloc[-1])
    return (
        f"Nothing is new in {release}: all {n_before:,} candidates were screened before with their present structures, "
        "and no eDOS was added or removed. No new run was kept."
    )
