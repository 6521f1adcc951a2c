"""Screening of crystals: sources, filters, classifiers, selection for DFT, evaluation, result tables and reports.

    import screening

    found = screening.screen(structures)

Names are imported when first used: what only reads settings waits for neither torch nor pymatgen.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from screening.in_memory import Screened, screen

__all__ = ["Screened", "screen"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'screening' has no attribute '{name}'")
    return getattr(import_module("screening.in_memory"), name)
