from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.models.metal_head import MetalHead, shipped_metal_head

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]])


def test_salt_is_an_insulator_and_copper_a_metal():
    salt, copper = shipped_metal_head().probability_of_metal(Crystals.from_structures([SALT, COPPER]))
    assert salt < 0.1
    assert copper > 0.9


def test_a_crystal_has_the_same_probability_in_every_cell_and_batch():
    cells = [SALT, SALT.get_primitive_structure(), SALT.get_primitive_structure() * (2, 1, 1)]
    together = shipped_metal_head().probability_of_metal(Crystals.from_structures([*cells, COPPER]))
    alone = shipped_metal_head().probability_of_metal(Crystals.from_structures([SALT]))
    np.testing.assert_allclose(together[:3], alone[0], rtol=1e-4)


def test_what_cannot_be_read_has_no_probability():
    crystals = Crystals.from_structures([SALT, COPPER])
    problems = np.array(["It is damaged.", None], dtype=object)
    broken = Crystals(
        crystals.material_ids,
        crystals.atomic_numbers,
        crystals.frac_coords,
        crystals.lattices,
        crystals.offsets,
        problems,
    )
    found = shipped_metal_head().probability_of_metal(broken)
    assert np.isnan(found[0])
    assert found[1] > 0.9


def test_weights_are_written_and_read_again(tmp_path):
    head = shipped_metal_head()
    head.save(tmp_path / "head.safetensors", {})
    again = MetalHead.load(tmp_path / "head.safetensors")
    assert again.weights_hash == head.weights_hash
    crystals = Crystals.from_structures([SALT])
    assert again.probability_of_metal(crystals) == pytest.approx(head.probability_of_metal(crystals))
