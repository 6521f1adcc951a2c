"""Metals that may be none in nature: what a spectrum of independent electrons cannot know.

Three reasons lie in the material: an odd number of electrons, which without spin leaves a band half filled whatever
the crystal; a partly filled band that is narrower than the repulsion of its electrons (Mott, Proc. Phys. Soc. A 62, 416,
1949; Imada, Fujimori and Tokura, Rev. Mod. Phys. 70, 1039, 1998); and an open d or f shell. One lies in the source: a
polymorph of the same formula with a known gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.magnetism import open_shell_elements
from mat2spec.settings import LARGEST_METAL_GAP_EV
from mat2spec.tables.columns import Column
from screening.settings import ClassifySettings

# From this many reasons the risk is high.
_MANY = 2
_ODD, _OPEN_SHELL = "odd number of electrons, without spin", "open shell of "


class Risk(StrEnum):
    """How likely it is that a metal is a false one."""

    LOW = "low"
    SOME = "some"
    HIGH = "high"


@dataclass(frozen=True)
class FalseMetalFacts:
    """What is known of materials beside their spectra.

    Parameters
    ----------
    n_electrons
        Electrons of the primitive cells, shape (n,).
    open_shells
        Elements with an open d or f shell that may hold moments, joined by commas, shape (n,).
    polymorphs
        Polymorphs of the source with a known gap (`gapped_polymorphs`), shape (n,); empty where there is none.
    """

    n_electrons: NDArray[np.int64]
    open_shells: NDArray[np.object_]
    polymorphs: NDArray[np.object_]

    @classmethod
    def of(
        cls, elements: ElementCounts, n_primitive: NDArray[np.integer], polymorphs: NDArray[np.object_] | None = None
    ) -> FalseMetalFacts:
        """Facts of crystals from the elements of any cell or formula unit, and the sites of their primitive cells."""
        size = len(elements.n_sites)
        total = np.bincount(elements.crystal, elements.atomic_number * elements.count, size)
        per_site = np.divide(total, elements.n_sites, out=np.zeros(size), where=elements.n_sites > 0)
        shells = [", ".join(sorted(open_shell_elements(set(found)))) for found in elements.elements()]
        none = np.full(size, "", dtype=object)
        return cls(
            np.rint(per_site * n_primitive).astype(np.int64),
            np.array(shells, dtype=object),
            none if polymorphs is None else polymorphs,
        )

    def take(self, indices: NDArray[np.integer]) -> FalseMetalFacts:
        """Those of the materials at `indices`."""
        return FalseMetalFacts(self.n_electrons[indices], self.open_shells[indices], self.polymorphs[indices])


def gapped_polymorphs(formulas: pd.Series, source: pd.DataFrame) -> list[str]:
    """For each formula the material of the source with the widest known gap, in words; empty where none has one.

    Parameters
    ----------
    formulas
        Reduced formulas.
    source
        Materials with `material_id`, `formula` and `band_gap`.
    """
    gapped = source[source[Column.BAND_GAP] > LARGEST_METAL_GAP_EV].dropna(subset=[Column.FORMULA])
    gapped = gapped.sort_values([Column.BAND_GAP, Column.MATERIAL_ID], ascending=[False, True])
    widest = gapped.drop_duplicates(Column.FORMULA)
    rows = zip(widest[Column.FORMULA], widest[Column.MATERIAL_ID], widest[Column.BAND_GAP], strict=True)
    words = {formula: f"{name} with {gap:.2f} eV" for formula, name, gap in rows}
    return [words.get(formula, "") for formula in formulas]


def known_polymorphs(candidates: pd.DataFrame) -> dict[str, str]:
    """The column `gapped_polymorph` by material; empty for a table of an older run."""
    if Column.GAPPED_POLYMORPH not in candidates:
        return {}
    return dict(zip(candidates[Column.MATERIAL_ID], candidates[Column.GAPPED_POLYMORPH].fillna(""), strict=True))


def false_metal_columns(
    table: pd.DataFrame, facts: FalseMetalFacts, with_spin: NDArray[np.bool_], settings: ClassifySettings
) -> pd.DataFrame:
    """Risk that each metal is a false one, and why.

    Parameters
    ----------
    table
        `is_metal` and `partly_filled_band_ev` of n materials.
    facts
        Of the same materials.
    with_spin
        Whether the spectrum is, or is a prediction of, a spin-polarised one, shape (n,).
    settings
        How narrow a band is suspicious.

    Returns
    -------
    pandas.DataFrame
        `false_metal_risk` and `false_metal_reason`; null for non-metals.
    """
    metal = table[Column.IS_METAL].fillna(value=False).to_numpy(dtype=np.bool_)
    widths = table[Column.PARTLY_FILLED_BAND_EV].to_numpy(dtype=np.float64)
    odd = (facts.n_electrons % 2 == 1) & ~with_spin
    risks: list[str | None] = [None] * len(table)
    reasons: list[str | None] = [None] * len(table)
    for row in np.flatnonzero(metal).tolist():
        found = list(_reasons(bool(odd[row]), float(widths[row]), facts, row, settings))
        risks[row] = _risk(found)
        reasons[row] = "; ".join(found)
    columns = {str(Column.FALSE_METAL_RISK): risks, str(Column.FALSE_METAL_REASON): reasons}
    return pd.DataFrame(columns, index=table.index, dtype=object)


def after_second_check(reason: str, band_gap_ev: float) -> tuple[Risk, str]:
    """Risk and reasons of a metal once it has been computed with spin in a doubled cell of lower symmetry.

    Where it became an insulator, that is a reason by itself. Where it stayed a metal, the odd number of electrons and the
    open shell are reasons no longer: the others count.
    """
    reasons = [part for part in reason.split("; ") if part]
    if band_gap_ev > 0:
        return Risk.HIGH, "; ".join([f"gap of {band_gap_ev:.2f} eV with spin in a doubled cell", *reasons])
    left = [part for part in reasons if part != _ODD and not part.startswith(_OPEN_SHELL)]
    return _risk(left), "; ".join(left)


def _risk(reasons: Sequence[str]) -> Risk:
    return Risk.HIGH if len(reasons) >= _MANY else Risk.SOME if reasons else Risk.LOW


def _reasons(
    is_odd: bool, width_ev: float, facts: FalseMetalFacts, row: int, settings: ClassifySettings
) -> Iterator[str]:
    if is_odd:
        yield _ODD
    if width_ev < settings.narrow_band_ev:
        yield f"partly filled band of only {width_ev:.2f} eV"
    if facts.open_shells[row]:
        yield f"{_OPEN_SHELL}{facts.open_shells[row]}"
    if facts.polymorphs[row]:
        yield f"polymorph with a gap: {facts.polymorphs[row]}"
