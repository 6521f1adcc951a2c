"""Predicted spectra as objects of pymatgen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure
from pymatgen.electronic_structure.core import OrbitalType, Spin
from pymatgen.electronic_structure.dos import CompleteDos, Dos
from pymatgen.phonon.dos import CompletePhononDos, PhononDos

from mat2spec.spectra.grids import SpectralGrid
from mat2spec.spectra.phonons import CM1_PER_THZ

_SHELLS = (OrbitalType.s, OrbitalType.p, OrbitalType.d)


def electronic_dos(
    grid: SpectralGrid,
    spectrum: NDArray[np.floating],
    structure: Structure | None = None,
    by_site: NDArray[np.float64] | None = None,
) -> Dos | CompleteDos:
    """A density of states in states/eV whose Fermi energy is the zero of the grid.

    Parameters
    ----------
    grid, spectrum
        Of the cell, shape (size,).
    structure, by_site
        The crystal and projections on sites and shells, shape (n_sites, 3, size); without them a `Dos` is returned.
    """
    total = Dos(0.0, grid.centers, {Spin.up: spectrum})
    if structure is None or by_site is None:
        return total
    # pymatgen's methods take an OrbitalType where they declare an Orbital.
    projections: dict[Any, Any] = {
        site: {shell: {Spin.up: values} for shell, values in zip(_SHELLS, shells, strict=True)}
        for site, shells in zip(structure, by_site, strict=True)
    }
    return CompleteDos(structure, total, projections)


def phonon_dos(
    grid: SpectralGrid, spectrum: NDArray[np.floating], structure: Structure | None = None
) -> PhononDos | CompletePhononDos:
    """A density of phonon states in states/THz over THz.

    Parameters
    ----------
    grid, spectrum
        In 1/cm, shape (size,).
    structure
        The crystal if symmetry makes all its sites equivalent: they share the spectrum then.
    """
    total = PhononDos(grid.centers / CM1_PER_THZ, spectrum * CM1_PER_THZ)
    if structure is None:
        return total
    share = np.asarray(total.densities) / len(structure)
    return CompletePhononDos(structure, total, dict.fromkeys(structure, share))
