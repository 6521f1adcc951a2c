"""What a run searches for, in words: gapped metals, or hits of a condition of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mat2spec.tables.columns import Column
from screening.settings import ClassifySettings


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
