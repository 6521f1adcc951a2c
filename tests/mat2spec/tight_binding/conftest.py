"""Crystals that the tests of this folder share."""

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.primitive_cell import PrimitiveCell


def as_given(lattice, frac_coords, atomic_numbers):
    """A cell that is solved as it is: no reduction, no symmetry."""
    n_atoms = len(atomic_numbers)
    return PrimitiveCell(
        np.asarray(lattice, dtype=float),
        np.asarray(frac_coords, dtype=float),
        np.asarray(atomic_numbers),
        np.eye(3, dtype=int)[None],
        np.arange(n_atoms),
    )


def primitive(structure):
    return PrimitiveCell.of(structure.lattice.matrix, structure.frac_coords, np.array(structure.atomic_numbers))


def solid(space_group, lattice, elements, coordinates):
    return primitive(Structure.from_spacegroup(space_group, Lattice.cubic(lattice), elements, coordinates))


def rock_salt(a=5.69, elements=("Na", "Cl")):
    return solid("Fm-3m", a, list(elements), [[0, 0, 0], [0.5] * 3])


def zinc_blende(a=5.75, elements=("Ga", "As")):
    return solid("F-43m", a, list(elements), [[0, 0, 0], [0.25] * 3])


def low_symmetry():
    lattice = Lattice.from_parameters(4.1, 5.3, 6.7, 81, 97, 104)
    coordinates = [[0.03, 0.07, 0.11], [0.52, 0.41, 0.13], [0.21, 0.83, 0.57], [0.74, 0.36, 0.79]]
    return Structure(lattice, ["Fe", "S", "O", "La"], coordinates)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
