"""Phonons of crystals by the force constants of a potential, whose fault or limit becomes a reason."""

from __future__ import annotations

from importlib.metadata import version as version_of_package
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.identity import structure_hash
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors.kinds import SevenNetVersion
from mat2spec.descriptors.sevennet import unknown_elements
from mat2spec.faults import CRYSTAL_FAULTS, reason_of_fault
from mat2spec.force_constants import harmonic
from mat2spec.force_constants.forces import potential_forces
from mat2spec.spectra.prediction import BatchReport
from mat2spec.tables.array_cache import ArrayCache
from mat2spec.threads import worker_threads

if TYPE_CHECKING:
    from phonopy import Phonopy
    from pymatgen.core import Structure

VERSION = SevenNetVersion.L3I5
# Forces on so many atoms take two minutes of one core.
MOST_FORCES = 10_000


def harmonic_phonons(structure: Structure, version: SevenNetVersion = VERSION) -> Phonopy:
    """Phonons of a crystal with the force constants of a potential: bands, modes and thermal properties by phonopy.

    Parameters
    ----------
    structure
        The crystal, which is reduced to its primitive cell and not relaxed.
    version
        Which packaged weights of SevenNet.

    Raises
    ------
    ValueError
        As `potential_phonons`.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> phonons = harmonic_phonons(salt)
    >>> modes = phonons.run_qpoints([[0.5, 0.5, 0]])
    >>> modes.frequencies.shape
    (1, 6)
    """
    numbers = np.array(structure.atomic_numbers)
    return potential_phonons(PrimitiveCell.of(structure.lattice.matrix, structure.frac_coords, numbers), version)


def modes_by_potential(
    crystals: Crystals,
    cache: ArrayCache | None = None,
    version: SevenNetVersion = VERSION,
    on_batch: BatchReport | None = None,
) -> list[NDArray[np.float32] | str]:
    """Shares of the modes of each crystal (`harmonic.modes`) by the force constants of a potential, or why there are none.

    Parameters
    ----------
    crystals
        Crystals without problems.
    cache
        What it holds is not computed again.
    version
        The potential.
    on_batch
        Called with 1 after each crystal.
    """
    cells = [PrimitiveCell.of_crystal(crystals, index) for index in range(len(crystals))]
    found = []
    with worker_threads(torch.device("cpu"), flush_denormals=False) as executor:
        for one in executor.map(lambda cell: _modes_or_reason(cell, cache, version), cells):
            found.append(one)
            if on_batch:
                on_batch(1)
    return found


def _modes_or_reason(
    cell: PrimitiveCell, cache: ArrayCache | None, version: SevenNetVersion
) -> NDArray[np.float32] | str:
    try:
        if cache is None:
            return potential_modes(cell, version)
        (known,) = cache.look_up(
            modes_kind(version), [structure_hash(cell)], [1], lambda _: [potential_modes(cell, version)[None]]
        )
    except CRYSTAL_FAULTS as error:
        return f"the force constants of SevenNet cannot be computed: {reason_of_fault(error).rstrip('.')}"
    assert known is not None
    return known[0]


def potential_phonons(cell: PrimitiveCell, version: SevenNetVersion = VERSION) -> Phonopy:
    """Phonons of a crystal with the force constants of a potential.

    Raises
    ------
    ValueError
        If the potential does not know an element, a force is not finite, or the crystal is too large.
    """
    unknown = unknown_elements(cell.atomic_numbers, version)
    if unknown:
        raise ValueError(f"it does not know the elements with Z = {unknown}")
    phonons = harmonic.displaced(cell)
    needed = harmonic.n_forces(phonons)
    if needed > MOST_FORCES:
        raise ValueError(f"they take forces on {needed:,} atoms, more than {MOST_FORCES:,}")
    harmonic.solve(phonons, potential_forces(version).of)
    return phonons


def potential_modes(cell: PrimitiveCell, version: SevenNetVersion = VERSION) -> NDArray[np.float32]:
    """Shares of the modes of `potential_phonons` in bins of frequency, shape (MODE_FREQUENCIES_CM1.size,)."""
    return harmonic.modes(potential_phonons(cell, version)).astype(np.float32)


def modes_kind(version: SevenNetVersion) -> str:
    """What the modes by a potential depend on."""
    packages = " ".join(f"{name} {version_of_package(name)}" for name in ("sevenn", "phonopy"))
    return f"modes {version} {' '.join(map(str, harmonic.CHOICES))} {packages}"
