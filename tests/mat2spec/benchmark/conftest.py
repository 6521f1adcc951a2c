"""A tiny phonon data set on disk, in the form of the real tables."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mat2spec.benchmark.data import PhononData
from mat2spec.crystals.arrays import Crystals
from mat2spec.spectra.grids import PHDOS_GRID
from tests.mat2spec.conftest import rock_salt_primitive

CATIONS, ANIONS = ("Li", "Na", "K", "Rb", "Mg", "Ca", "Sr", "Ba"), ("O", "S", "F", "Cl")
RESERVED = "LiO"


@pytest.fixture(scope="session")
def phonon_folder(tmp_path_factory):
    """Thirty-two rock salts, 20 to train on; one of these is reserved, and one held-out one is a polymorph."""
    folder = tmp_path_factory.mktemp("phonons")
    pairs = [(cation, anion) for anion in ANIONS for cation in CATIONS]
    structures = [rock_salt_primitive(4.5 + 0.03 * i, *pair) for i, pair in enumerate(pairs)]
    structures[-1] = rock_salt_primitive(5.9, *pairs[1])
    crystals = Crystals.from_structures(structures)
    masses = np.array([structure.composition.weight for structure in structures])
    centre = 3000 / np.sqrt(masses)
    curves = np.exp(-(((PHDOS_GRID.centers - centre[:, None]) / 60) ** 2))
    ids = [f"mp-{i}" for i in range(len(structures))]
    table = pa.table(
        {
            "material_id": ids,
            "formula": [structure.composition.reduced_formula for structure in structures],
            "lattice": crystals.lattices.reshape(len(ids), 9).tolist(),
            "frac_coords": [structure.frac_coords.ravel().tolist() for structure in structures],
            "atomic_numbers": [list(structure.atomic_numbers) for structure in structures],
            "phdos_51": (curves / curves.max(axis=1, keepdims=True)).tolist(),
            "split": ["train"] * 20 + ["valid"] * 5 + ["test"] * 7,
        }
    )
    pq.write_table(table, folder / "phdos_dfpt.parquet")
    pq.write_table(table.select(["material_id", "formula"]), folder / "mp_structures.parquet")
    (folder / "reserved_ids.txt").write_text("mp-0\n")
    return folder


@pytest.fixture(scope="module")
def data(phonon_folder):
    return PhononData(phonon_folder)
