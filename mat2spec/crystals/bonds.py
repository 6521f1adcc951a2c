"""Bonds whose vibrations lie above the grid of phonon spectra, which ends at 1,000 cm-1."""

from __future__ import annotations

import numpy as np

from mat2spec.crystals import checks
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.compact import reduce_skewed_cells
from mat2spec.crystals.composition import ElementCounts, symbols
from mat2spec.crystals.environments import Environments

# Longest bond in Angstrom. Stretching modes of borates, carbonates and nitrates lie between 1,000 and 1,500 cm-1, those of
# hydrogen up to 3,700 cm-1 (Nakamoto, Infrared and Raman Spectra of Inorganic and Coordination Compounds, Wiley 2009).
_STIFF_BONDS = {("B", "O"): 1.65, ("C", "O"): 1.5, ("N", "O"): 1.5}
_HYDROGEN = "H"


def high_frequency_bonds(crystals: Crystals) -> list[str]:
    """Why modes above 1,000 cm-1 are likely in each crystal, as in "H" or "B-O bonds"; empty where they are not."""
    found = [""] * len(crystals)
    present = [set(names) for names in ElementCounts.from_crystals(crystals).elements()]
    maybe = [
        index
        for index, elements in enumerate(present)
        if _HYDROGEN in elements or any(set(pair) <= elements for pair in _STIFF_BONDS)
    ]
    chosen = reduce_skewed_cells(crystals.take(maybe))
    for row, (index, problem) in enumerate(zip(maybe, checks.find_problems(chosen), strict=True)):
        if problem is None:
            found[index] = _stiff_bonds(chosen.take([row]), present[index])
    return found


def _stiff_bonds(crystal: Crystals, elements: set[str]) -> str:
    if _HYDROGEN in elements:
        return _HYDROGEN
    around = Environments.of(crystal)
    names = np.array(symbols(), dtype=object)
    centre, other = names[around.site_element[around.near_site]], names[around.near_element]
    distance = around.near_distance
    near = [
        "-".join(pair)
        for pair, longest in _STIFF_BONDS.items()
        if ((centre == pair[0]) & (other == pair[1]) & (distance < longest)).any()
    ]
    return f"{' and '.join(near)} bonds" if near else ""
