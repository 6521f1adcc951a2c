"""Formation energies and energies above the convex hull, from the crystals of the catalogue themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

FloatArray = NDArray[np.float64]


def elemental_references(compositions: Sequence[Composition], energies: FloatArray) -> dict[str, float]:
    """Lowest energy of each element among the crystals, eV/atom.

    Parameters
    ----------
    compositions
        One per crystal.
    energies
        eV/atom, (M,).
    """
    references: dict[str, float] = {}
    for composition, energy in zip(compositions, energies, strict=True):
        if composition.is_element:
            (element,) = composition.chemical_system_set
            references[element] = min(float(energy), references.get(element, np.inf))
    return references


def formation_energies(
    compositions: Sequence[Composition], energies: FloatArray, references: dict[str, float]
) -> FloatArray:
    """Formation energies from the elements in eV/atom, (M,); NaN where an element has no reference."""
    return np.array(
        [energy - _reference_energy(c, references) for c, energy in zip(compositions, energies, strict=True)]
    )


def _reference_energy(composition: Composition, references: dict[str, float]) -> float:
    """Energy of the elements in a composition, eV/atom; NaN where one has no reference."""
    parts = [composition.get_atomic_fraction(e) * references.get(e, np.nan) for e in composition.chemical_system_set]
    return float(sum(parts))


def energies_above_hull(
    compositions: Sequence[Composition],
    formation: FloatArray,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Energies above the convex hull of all given crystals in eV/atom, (M,), never negative.

    One phase diagram is built per chemical system, from the lowest crystal of every composition in the
    system and its subsystems; the elements lie at zero.

    Parameters
    ----------
    compositions
        One per crystal.
    formation
        Formation energies in eV/atom, (M,), all finite.
    progress
        Told how many of how many chemical systems are done.
    """
    ground_states = _ground_states(compositions, formation)
    systems: dict[frozenset[str], list[int]] = defaultdict(list)
    for index, composition in enumerate(compositions):
        systems[frozenset(composition.chemical_system_set)].append(index)
    by_system: dict[frozenset[str], list[PDEntry]] = defaultdict(list)
    for composition, energy in ground_states.items():
        entry = PDEntry(composition, energy * composition.num_atoms)
        by_system[frozenset(composition.chemical_system_set)].append(entry)
    above = np.zeros(len(compositions))
    for done, (system, members) in enumerate(systems.items()):
        hull = _hull_energies(system, by_system, [compositions[i] for i in members])
        above[members] = formation[members] - hull
        if progress is not None:
            progress(done + 1, len(systems))
    return np.maximum(above, 0.0)


def _ground_states(compositions: Sequence[Composition], formation: FloatArray) -> dict[Composition, float]:
    """Lowest formation energy of each reduced composition, eV/atom."""
    lowest: dict[Composition, float] = {}
    for composition, energy in zip(compositions, formation, strict=True):
        reduced = composition.reduced_composition
        lowest[reduced] = min(float(energy), lowest.get(reduced, np.inf))
    return lowest


def _hull_energies(
    system: frozenset[str], by_system: dict[frozenset[str], list[PDEntry]], members: list[Composition]
) -> FloatArray:
    """Energy of the hull at each composition in eV/atom, (len(members),)."""
    if len(system) == 1:
        return np.zeros(len(members))
    elements = sorted(system)
    sizes = range(2, len(elements) + 1)
    subsets = [frozenset(subset) for size in sizes for subset in combinations(elements, size)]
    entries = [PDEntry(Composition({element: 1}), 0.0) for element in elements]
    entries += [entry for subset in subsets for entry in by_system.get(subset, [])]
    diagram = PhaseDiagram(entries)
    return np.array([diagram.get_hull_energy_per_atom(composition) for composition in members])
