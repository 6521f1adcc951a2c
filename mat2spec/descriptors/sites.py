"""Descriptors of all atoms of given cells, by one potential or by several side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.chgnet import cached_site_vectors
from mat2spec.descriptors.kinds import CHGNET, Descriptors, SevenNetVersion
from mat2spec.descriptors.sevennet import scalars_or_reasons, unknown_elements

if TYPE_CHECKING:
    from mat2spec.crystals.arrays import Crystals
    from mat2spec.tables.array_cache import ArrayCache

# Crystals that SevenNet describes together; if one fails, each alone.
_CELLS_AT_ONCE = 64

Described = tuple[NDArray[np.float32], list[str | None]]


def site_descriptors(
    crystals: Crystals, kind: Descriptors, usable: NDArray[np.bool_], cache: ArrayCache | None = None
) -> Described:
    """Descriptors of every atom.

    Parameters
    ----------
    crystals
        Any crystals.
    kind
        Which descriptors.
    usable
        Crystals to compute, shape (n_crystals,).
    cache
        What it holds is not computed again.

    Returns
    -------
    array
        Shape (n_atoms of all crystals, `kind.width`); zero where not computed.
    list of str or None
        Why a usable crystal has no descriptors, or None.

    Raises
    ------
    DescriptorError
        If a package that computes them is not installed.
    """
    problems: list[str | None] = [None] * len(crystals)
    parts = []
    for name in kind.potentials:
        left = usable & np.array([problem is None for problem in problems], dtype=bool)
        if name == CHGNET:
            values, found = cached_site_vectors(crystals, left, cache)
        else:
            values, found = _by_sevennet(crystals, SevenNetVersion(name), left, cache)
        parts.append(values)
        problems = [problem or new for problem, new in zip(problems, found, strict=True)]
    descriptors = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    failed = np.array([problem is not None for problem in problems], dtype=bool)
    descriptors[np.repeat(failed, crystals.n_sites)] = 0
    return descriptors, problems


def _by_sevennet(
    crystals: Crystals, version: SevenNetVersion, usable: NDArray[np.bool_], cache: ArrayCache | None
) -> Described:
    """Each atom by its site in the primitive cell."""
    descriptors = np.zeros((len(crystals.atomic_numbers), version.width), dtype=np.float32)
    problems: list[str | None] = [None] * len(crystals)
    chosen = []
    for index in np.flatnonzero(usable).tolist():
        unknown = unknown_elements(crystals.atomic_numbers[crystals.sites(index)], version)
        if unknown:
            problems[index] = f"SevenNet, which describes its atoms, does not know the elements with Z = {unknown}."
        else:
            chosen.append(index)
    for first in range(0, len(chosen), _CELLS_AT_ONCE):
        together = chosen[first : first + _CELLS_AT_ONCE]
        cells, sites = zip(*(_primitive(crystals, index) for index in together), strict=True)
        for index, of_cell, values in zip(together, sites, scalars_or_reasons(cells, version, cache), strict=True):
            if isinstance(values, str):
                problems[index] = values
            else:
                descriptors[crystals.sites(index)] = values[of_cell]
    return descriptors, problems


def _primitive(crystals: Crystals, index: int) -> tuple[PrimitiveCell, NDArray[np.int64]]:
    cell = crystals.cell(index)
    return PrimitiveCell.with_sites(cell.lattice, cell.frac_coords, cell.atomic_numbers)
