"""Initial moments and Hubbard U as the Materials Project sets them.

Both are read from pymatgen's `MPRelaxSet`, so they match the spectra that models are trained on:
A. Jain et al., Phys. Rev. B 84, 045115 (2011) for U, which applies to some 3d and 4d metals in oxides and fluorides.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

from pymatgen.core import Element, Structure

from dft_validation.bands.doubled import alternate
from dft_validation.settings import DftSettings
from mat2spec.crystals.cell import Cell
from mat2spec.crystals.magnetism import can_be_magnetic


@dataclass(frozen=True)
class SpinAndU:
    """Treatment of spin and correlation for one crystal.

    Parameters
    ----------
    initial_moments
        Moment per atom from which the calculation starts, in Bohr magnetons; empty without spin polarisation.
    u_values_ev
        Hubbard U of the d shell by element, in eV; elements without U are left out.
    """

    initial_moments: list[float] = field(default_factory=list)
    u_values_ev: dict[str, float] = field(default_factory=dict)


def structure_of(cell: Cell) -> Structure:
    """The cell as a pymatgen structure."""
    return Structure(cell.lattice, cell.atomic_numbers.tolist(), cell.frac_coords)


def is_polarised(cell: Cell, settings: DftSettings) -> bool:
    """Whether the settings ask for a spin-polarised calculation of this primitive cell."""
    return settings.spin == "polarised" or (settings.spin == "mp" and can_be_magnetic(cell.atomic_numbers))


def spin_and_u(cell: Cell, settings: DftSettings) -> SpinAndU:
    """What the settings require for this crystal; nothing by default, in which case pymatgen's sets are not loaded."""
    polarised, with_u = is_polarised(cell, settings), settings.hubbard_u == "mp"
    if not polarised and not with_u:
        return SpinAndU()
    # Not at the top: the sets import ASE, which loads the plugins of all installed programs, including GPAW's.
    from pymatgen.io.vasp.sets import MPRelaxSet

    with warnings.catch_warnings():
        # Recommendations about VASP pseudopotentials, which are not used here.
        warnings.simplefilter("ignore")
        incar = MPRelaxSet(structure_of(cell), sort_structure=False).incar
    moments = [float(moment) for moment in incar["MAGMOM"]] if polarised else []
    moments = alternate(moments) if settings.cell == "doubled" else moments
    return SpinAndU(moments, _u_values(cell, incar.get("LDAUU")) if with_u else {})


def _u_values(cell: Cell, per_species: list[float] | None) -> dict[str, float]:
    """U by element, from INCAR's list with one value per element in order."""
    if per_species is None:
        return {}
    # VASP starts a new species wherever the element changes along the list of atoms.
    numbers = cell.atomic_numbers.tolist()
    runs = [number for index, number in enumerate(numbers) if index == 0 or number != numbers[index - 1]]
    symbols = [Element.from_Z(int(number)).symbol for number in runs]
    return {symbol: float(u) for symbol, u in sorted(zip(symbols, per_species, strict=True)) if u > 0}
