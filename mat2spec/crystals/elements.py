"""Element descriptors: 92 numbers per element, in the manner of CGCNN, computed from pymatgen's tables.

The table is stored inside every weights file, so a prediction does not change when a newer
pymatgen revises an electronegativity.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

MAX_ATOMIC_NUMBER = 103
N_GROUPS, N_PERIODS, N_BINS, MAX_VALENCE = 18, 7, 10, 12
BLOCKS = "spdf"
NOBLE_GAS_CORES = (0, 2, 10, 18, 36, 54, 86)


@lru_cache(maxsize=1)
def element_features() -> NDArray[np.float32]:
    """Descriptors of all elements.

    One-hot group (18), period (7), number of valence electrons (12) and block (4); one-hot decile
    of electronegativity, atomic radius, first ionisation energy, electron affinity and molar
    volume (10 each; all zero where unknown); one flag for lanthanoids and actinoids.

    Returns
    -------
    NDArray
        Shape (MAX_ATOMIC_NUMBER + 1, 92); row Z belongs to atomic number Z, row 0 is zero.
    """
    elements = [Element.from_Z(z) for z in range(1, MAX_ATOMIC_NUMBER + 1)]
    columns = [
        _one_hot([element.group - 1 for element in elements], N_GROUPS),
        _one_hot([element.row - 1 if element.row < 8 else element.row - 3 for element in elements], N_PERIODS),
        _one_hot([min(count_valence_electrons(e.Z), MAX_VALENCE) - 1 for e in elements], MAX_VALENCE),
        _one_hot([BLOCKS.index(element.block) for element in elements], len(BLOCKS)),
        *(_deciles(elements, value) for value in _PROPERTIES),
        np.array([[float(e.is_lanthanoid or e.is_actinoid)] for e in elements]),
    ]
    table = np.concatenate(columns, axis=1)
    return np.concatenate([np.zeros((1, table.shape[1])), table]).astype(np.float32)


@lru_cache(maxsize=1)
def atomic_masses() -> NDArray[np.float32]:
    """Standard atomic masses in u, shape (MAX_ATOMIC_NUMBER + 1,); row Z belongs to atomic number Z, row 0 is zero."""
    masses = [float(Element.from_Z(z).atomic_mass) for z in range(1, MAX_ATOMIC_NUMBER + 1)]
    return np.array([0.0, *masses], dtype=np.float32)


@lru_cache(maxsize=1)
def electronegativities() -> NDArray[np.float64]:
    """Pauling's, zero where unknown, shape (MAX_ATOMIC_NUMBER + 1,)."""
    values = (Element.from_Z(z).data.get("X") for z in range(1, MAX_ATOMIC_NUMBER + 1))
    return np.array([0.0, *(float(value) if isinstance(value, int | float) else 0.0 for value in values)])


@lru_cache(maxsize=1)
def common_charges() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Lowest, least positive and highest common oxidation state of each element, shape (MAX_ATOMIC_NUMBER + 1,) each.

    Zero where an element has none (the least positive: where none is positive).
    """
    states = [(), *(Element.from_Z(z).common_oxidation_states for z in range(1, MAX_ATOMIC_NUMBER + 1))]
    positive = [[state for state in found if state > 0] for found in states]
    lowest, highest = ([float(pick(found, default=0)) for found in states] for pick in (min, max))
    return np.array(lowest), np.array([float(min(found, default=0)) for found in positive]), np.array(highest)


def count_valence_electrons(atomic_number: int) -> int:
    """Electrons outside the noble-gas core, without filled d and f shells of p elements.

    Examples
    --------
    >>> [count_valence_electrons(z) for z in (1, 8, 26, 31, 82)]
    [1, 6, 8, 3, 4]
    """
    outside = atomic_number - max(core for core in NOBLE_GAS_CORES if core < atomic_number)
    if Element.from_Z(atomic_number).block == "p" and outside > 8:
        outside -= 24 if atomic_number > 54 else 10
    elif Element.from_Z(atomic_number).block in "sd" and atomic_number > 70 and outside > 14:
        outside -= 14
    return int(outside)


def _tabulated(element: Element, *names: str) -> float | None:
    """The first of the named properties in pymatgen's table, whose attributes warn if a value is missing."""
    values = (element.data.get(name) for name in names)
    return next((float(value) for value in values if isinstance(value, int | float)), None)


_PROPERTIES: tuple[Callable[[Element], float | None], ...] = (
    lambda element: _tabulated(element, "X"),
    lambda element: _tabulated(element, "Atomic radius calculated", "Atomic radius"),
    lambda element: element.ionization_energy,
    lambda element: element.electron_affinity,
    lambda element: _tabulated(element, "Molar volume"),
)


def _one_hot(indices: list[int], size: int) -> NDArray[np.float64]:
    return np.eye(size)[np.asarray(indices)]


def _deciles(elements: list[Element], value: Callable[[Element], float | None]) -> NDArray[np.float64]:
    values = np.array([value(element) for element in elements], dtype=np.float64)
    known = np.isfinite(values)
    edges = np.quantile(values[known], np.linspace(0, 1, N_BINS + 1)[1:-1])
    one_hot = np.zeros((len(elements), N_BINS))
    one_hot[np.flatnonzero(known), np.searchsorted(edges, values[known], side="right")] = 1.0
    return one_hot
