"""Crystals and small models that the tests of this package share."""

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import reduced_formulas
from mat2spec.graphs.building import build_graphs
from mat2spec.labels.labelled import LabelledSpectra
from mat2spec.spectra.grids import EDOS_GRID

SMALL_ENCODER = {"width": 16, "n_heads": 2}
SMALL_SIZES = {
    "mat2spec": {"encoder": SMALL_ENCODER, "latent": 8, "translated": 32, "projected": 16},
    "gatgnn": {"encoder": SMALL_ENCODER},
    "e3nn": {"width": 8, "pooled": 16, "type_width": 4, "radial_width": 8, "max_order": 2, "n_layers": 1},
    "sitedos": {"width": 16, "n_members": 2, "sees_crystal": True},
}


FACE_CENTRED = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def rock_salt(a=5.6, cation="Na", anion="Cl"):
    return Structure(Lattice.cubic(a), [cation] * 4 + [anion] * 4, [*FACE_CENTRED, *(FACE_CENTRED + 0.5)])


def rock_salt_primitive(a=5.6, cation="Na", anion="Cl"):
    lattice = a / 2 * (np.ones((3, 3)) - np.eye(3))
    return Structure(lattice, [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def perovskite(a=3.85, elements=("Sr", "V", "O")):
    large, small, anion = elements
    corners_and_faces = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    return Structure(Lattice.cubic(a), [large, small, *[anion] * 3], corners_and_faces)


def low_symmetry():
    lattice = Lattice.from_parameters(4.1, 5.3, 6.7, 81, 97, 104)
    coordinates = [[0.03, 0.07, 0.11], [0.52, 0.41, 0.13], [0.21, 0.83, 0.57], [0.74, 0.36, 0.79]]
    return Structure(lattice, ["Fe", "S", "O", "La"], coordinates)


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def structures():
    return [rock_salt_primitive(), perovskite(), low_symmetry()]


@pytest.fixture
def crystals(structures):
    return Crystals.from_structures(structures, ["NaCl", "SrVO3", "odd"])


@pytest.fixture
def labelled():
    """Forty small crystals with made-up spectra that depend on their elements."""
    pairs = [(c, a) for c in ("Li", "Na", "K", "Rb", "Mg", "Ca", "Sr", "Ba", "Ti", "V") for a in ("O", "S", "F", "Cl")]
    crystals = Crystals.from_structures([rock_salt_primitive(5.0 + 0.02 * i, *pair) for i, pair in enumerate(pairs)])
    graphs, problems = build_graphs(crystals)
    assert not any(problems)
    numbers = crystals.atomic_numbers.reshape(-1, 2)
    centre = -3 + 6 * (numbers[:, 0] / 60)
    spectra = np.exp(-((EDOS_GRID.centers - centre[:, None]) ** 2)) * (1 + numbers[:, 1:] / 20)
    split = np.array(["train"] * 28 + ["valid"] * 6 + ["test"] * 6, dtype=object)
    split = np.random.default_rng(0).permutation(split)
    return LabelledSpectra(
        name="made-up spectra",
        material_ids=crystals.material_ids,
        formulas=reduced_formulas(crystals),
        graphs=graphs,
        spectra=spectra.astype(np.float32),
        split=split,
        grid=EDOS_GRID,
        sources={},
        dropped={},
    )
