"""The crystals that may be labelled: supported by the engine, not reserved, without a label so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dft_validation.engines import get_engine
from dft_validation.labels.reserved import Reserved
from dft_validation.settings import DftSettings, LabelSettings
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import ElementCounts, reduced_formulas, symbols
from mat2spec.crystals.magnetism import MAGNETIC_ELEMENTS


@dataclass(frozen=True)
class Pool:
    """Crystals to choose from.

    Parameters
    ----------
    crystals
        The crystals.
    formulas
        Their reduced formulas, shape (n,).
    left_out
        Reason to number of crystals that are not in the pool.
    """

    crystals: Crystals
    formulas: NDArray[np.object_]
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.crystals)


def make_pool(
    crystals: Crystals,
    settings: LabelSettings,
    dft: DftSettings,
    reserved: Reserved,
    done_ids: Collection[str] = (),
    done_formulas: Collection[str] = (),
    excluded_elements: Collection[str] = (),
) -> Pool:
    """Leave out crystals that must not, cannot or need not be computed.

    Parameters
    ----------
    crystals
        All crystals of the source.
    settings
        Limits of the choice.
    dft
        Engine, whose missing elements are left out.
    reserved
        Materials and formulas that are never labelled.
    done_ids
        Materials with a label or a permanent failure under these DFT settings.
    done_formulas
        Formulas with a label; left out if `settings.one_per_formula`.
    excluded_elements
        Symbols of elements that no crystal of the pool may contain.
    """
    formulas = reduced_formulas(crystals)
    composition = ElementCounts.from_crystals(crystals)
    unsupported = _unsupported(np.unique(crystals.atomic_numbers).tolist(), dft)
    magnetic = MAGNETIC_ELEMENTS if settings.skip_magnetic and dft.spin == "unpolarised" else frozenset()
    reasons: list[tuple[str, NDArray[np.bool_]]] = [
        ("reserved", _flags(reserved.holds(i, f) for i, f in zip(crystals.material_ids, formulas, strict=True))),
        ("labelled or failed already", np.isin(crystals.material_ids.astype(str), list(done_ids))),
        (f"more than {settings.max_sites} sites", crystals.n_sites > settings.max_sites),
        (f"an element that {dft.engine} lacks", _holds_any(composition, unsupported)),
        ("an element that is often magnetic", _holds_any(composition, magnetic)),
        ("an excluded element", _holds_any(composition, excluded_elements)),
    ]
    if settings.one_per_formula:
        reasons.append(("a formula that has a label", np.isin(formulas.astype(str), list(done_formulas))))
    first = np.full(len(crystals), -1)
    for number, (_, flags) in reversed(list(enumerate(reasons))):
        first[flags] = number
    counts = Counter(reasons[number][0] for number in first[first >= 0])
    kept = np.flatnonzero(first < 0)
    return Pool(crystals.take(kept), formulas[kept], dict(counts))


def _unsupported(atomic_numbers: list[int], dft: DftSettings) -> set[str]:
    """Elements that neither the engine nor its fallback, if any, can compute."""
    names = filter(None, (dft.engine, dft.fallback_engine))
    return set.intersection(*(set(get_engine(name).find_unsupported(atomic_numbers)) for name in names))


def element_matrix(crystals: Crystals) -> NDArray[np.bool_]:
    """Which elements each crystal has, shape (n, 119); column Z is atomic number Z, column 0 unknown elements."""
    composition = ElementCounts.from_crystals(crystals)
    matrix = np.zeros((len(crystals), len(symbols())), dtype=np.bool_)
    matrix[composition.crystal, composition.atomic_number] = True
    return matrix


def _holds_any(composition: ElementCounts, elements: Collection[str]) -> NDArray[np.bool_]:
    numbers = [number for number, symbol in enumerate(symbols()) if symbol in elements]
    found = np.zeros(len(composition.n_sites), dtype=np.bool_)
    found[composition.crystal[np.isin(composition.atomic_number, numbers)]] = True
    return found


def _flags(values: object) -> NDArray[np.bool_]:
    return np.fromiter(values, dtype=np.bool_)  # type: ignore[call-overload]
