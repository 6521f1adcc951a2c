"""Assemble labelled spectra from crystals and spectra read one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import reduced_formulas
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import DataError, LabelledSpectra, assemble_spectra
from mat2spec.labels.reserved import without_reserved
from mat2spec.spectra.grids import SpectralGrid

CrystalArrays = tuple[Sequence[int], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Parts:
    """Data read for every material.

    Parameters
    ----------
    material_ids
        Length n.
    crystals
        Atomic numbers, fractional coordinates (n_sites, 3) and lattice (3, 3) of each; or why it
        cannot be used, as a sentence.
    spectra
        Shape (n, size).
    split
        Shape (n,).
    """

    material_ids: Sequence[str]
    crystals: Sequence[CrystalArrays | str]
    spectra: NDArray[np.float64]
    split: NDArray[np.object_]


def assemble_parts(
    name: str,
    parts: Parts,
    grid: SpectralGrid,
    graph_settings: GraphSettings,
    sources: dict[str, str],
    reserved: Collection[str] = (),
    *,
    per_cell: bool = True,
) -> LabelledSpectra:
    """Labelled spectra of the materials that can be used, the others counted by reason.

    Parameters
    ----------
    name, grid, sources
        As in `LabelledSpectra`.
    parts
        The data read.
    graph_settings
        How graphs are made.
    reserved
        Reduced formulas that are neither trained nor validated on.
    per_cell
        Whether the spectra are per cell, and are to be divided by its number of atoms.

    Raises
    ------
    DataError
        If no material can be used.
    """
    kept = [index for index, crystal in enumerate(parts.crystals) if not isinstance(crystal, str)]
    reasons = Counter(crystal for crystal in parts.crystals if isinstance(crystal, str))
    read = [crystal for crystal in parts.crystals if not isinstance(crystal, str)]
    crystals = Crystals.from_lists(
        [parts.material_ids[index] for index in kept],
        [numbers for numbers, _, _ in read],
        [coordinates for _, coordinates, _ in read],
        [lattice for _, _, lattice in read],
    )
    n_atoms = crystals.n_sites[:, None] if per_cell else 1
    spectra = parts.spectra[kept] / np.maximum(n_atoms, 1)
    data = assemble_spectra(
        name, crystals, reduced_formulas(crystals), spectra, parts.split[kept], grid, graph_settings, sources
    )
    data = replace(data, dropped=dict(reasons + Counter(data.dropped)))
    if len(data) == 0:
        why = "; ".join(f"{reason} ({count})" for reason, count in data.dropped.items()) or "It is empty."
        raise DataError(f"No material of {name} can be trained on. {why}")
    return without_reserved(data, reserved)
