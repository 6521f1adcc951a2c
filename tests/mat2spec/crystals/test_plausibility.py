from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.bonds import high_frequency_bonds
from mat2spec.crystals.plausibility import shipped_plausibility
from mat2spec.crystals.spoilt import WAYS_TO_SPOIL, expanded, with_exchanged_elements, with_random_positions


def real_crystals():
    """Six well-known crystals."""
    cubic = Lattice.cubic
    perovskite = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    structures = [
        Structure.from_spacegroup("Fm-3m", cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        Structure.from_spacegroup("Fd-3m", cubic(5.43), ["Si"], [[0, 0, 0]]),
        Structure.from_spacegroup("Pm-3m", cubic(3.84), ["Sr", "V", "O"], perovskite),
        Structure.from_spacegroup("Fm-3m", cubic(3.61), ["Cu"], [[0, 0, 0]]),
        Structure.from_spacegroup("F-43m", cubic(5.65), ["Ga", "As"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
        Structure.from_spacegroup("Fm-3m", cubic(5.46), ["Ca", "F"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
    ]
    return Crystals.from_structures(structures)


def test_real_crystals_are_plausible_and_spoilt_ones_are_not():
    judge = shipped_plausibility()
    assert (judge.implausibility(real_crystals()) < 1).all()
    assert (judge.implausibility(expanded(real_crystals())) > 1).all()
    found = judge.implausibility(with_random_positions(real_crystals()))
    assert (np.isnan(found) | (found > 1)).all()
    perovskite = real_crystals().take([2])
    swapped = perovskite.atomic_numbers.copy()
    swapped[np.isin(swapped, [38, 23])] = np.array([23, 38])
    assert judge.implausibility(replace(perovskite, atomic_numbers=swapped))[0] > 1


def test_neither_cell_nor_order_nor_companions_matter():
    judge = shipped_plausibility()
    structure = real_crystals().structure(2)
    doubled = structure.copy()
    doubled.make_supercell([2, 1, 1])
    shifted = structure.copy()
    shifted.translate_sites(range(len(structure)), [0.1, 0.2, 0.3])
    turned = Structure(structure.lattice, structure.species[::-1], structure.frac_coords[::-1])
    found = judge.implausibility(Crystals.from_structures([structure, doubled, shifted, turned]))
    assert found == pytest.approx([found[0]] * 4, rel=1e-6)
    assert judge.implausibility(Crystals.from_structures([doubled])) == pytest.approx(found[0], rel=1e-6)


def test_what_cannot_be_used_has_no_number():
    broken = replace(real_crystals(), lattices=np.full((6, 3, 3), np.nan))
    assert np.isnan(shipped_plausibility().implausibility(broken)).all()
    assert len(shipped_plausibility().implausibility(real_crystals().take([]))) == 0


@pytest.mark.parametrize("name", WAYS_TO_SPOIL)
def test_spoiling_is_repeatable_and_leaves_the_given_crystals_alone(name):
    given = real_crystals()
    numbers, positions = given.atomic_numbers.copy(), given.frac_coords.copy()
    one, other = (WAYS_TO_SPOIL[name](given, 3) for _ in range(2))
    np.testing.assert_array_equal(one.atomic_numbers, other.atomic_numbers)
    np.testing.assert_array_equal(one.frac_coords, other.frac_coords)
    np.testing.assert_array_equal(given.atomic_numbers, numbers)
    np.testing.assert_array_equal(given.frac_coords, positions)
    before = given.take([given.material_ids.tolist().index(one.material_ids[0])])
    changed = [getattr(one.take([0]), field) for field in ("atomic_numbers", "frac_coords", "lattices")]
    same = [getattr(before, field) for field in ("atomic_numbers", "frac_coords", "lattices")]
    assert any(not np.array_equal(a, b) for a, b in zip(changed, same, strict=True))


def test_crystals_of_one_element_have_none_to_exchange():
    assert with_exchanged_elements(real_crystals().take([1, 3])).material_ids.tolist() == []


def test_bonds_above_the_grid_are_named():
    calcite = Structure.from_spacegroup(
        "R-3c",
        Lattice.hexagonal(4.99, 17.06),
        ["Ca", "C", "O"],
        [[0, 0, 0], [0, 0, 0.25], [0.257, 0, 0.25]],
    )
    hydride = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.08), ["Li", "H"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    crystals = Crystals.from_structures([calcite, hydride, real_crystals().structure(2)])
    assert high_frequency_bonds(crystals) == ["C-O bonds", "H", ""]
