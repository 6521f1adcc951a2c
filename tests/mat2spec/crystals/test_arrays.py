import numpy as np
import pyarrow as pa
import pytest
from pymatgen.core import Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.checks import find_problems
from tests.mat2spec.conftest import rock_salt


def as_table(crystals):
    return pa.table(
        {
            "material_id": crystals.material_ids.tolist(),
            "lattice": [lattice.ravel().tolist() for lattice in crystals.lattices],
            "frac_coords": [crystals.frac_coords[crystals.sites(i)].ravel().tolist() for i in range(len(crystals))],
            "atomic_numbers": [crystals.atomic_numbers[crystals.sites(i)].tolist() for i in range(len(crystals))],
        }
    )


def one_crystal(numbers=(11, 17), coordinates=((0, 0, 0), (0.5, 0.5, 0.5)), lattice=None):
    lattice = np.eye(3) * 3.0 if lattice is None else lattice
    return Crystals.from_lists(["x"], [list(numbers)], [np.array(coordinates, dtype=float)], [lattice])


def test_structures_and_tables_give_the_same_arrays(structures, crystals):
    again = Crystals.from_arrow(as_table(crystals))
    for name in ("material_ids", "atomic_numbers", "frac_coords", "lattices", "offsets"):
        np.testing.assert_array_equal(getattr(again, name), getattr(crystals, name))
    assert [again.structure(i) for i in range(3)] == structures


def test_take_picks_in_order(crystals):
    taken = crystals.take([2, 0])
    assert taken.material_ids.tolist() == ["odd", "NaCl"]
    assert taken.structure(1) == crystals.structure(0)


def test_disordered_structure_is_refused_with_its_id():
    disordered = Structure(np.eye(3) * 4, [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    with pytest.raises(ValueError, match="mp-7 has partial occupancies"):
        Crystals.from_structures([rock_salt(), disordered], ["mp-1", "mp-7"])


@pytest.mark.parametrize(
    ("crystal", "sentence"),
    [
        (one_crystal(numbers=(), coordinates=np.empty((0, 3))), "no sites"),
        (one_crystal(lattice=np.full((3, 3), np.nan)), "lattice contains non-finite numbers"),
        (one_crystal(coordinates=[[0, 0, np.nan], [0.5] * 3]), "coordinates contain non-finite numbers"),
        (one_crystal(numbers=(11, 0)), "unknown element"),
        (one_crystal(numbers=(11, 119)), "unknown element"),
        (one_crystal(lattice=np.diag([3.0, 3.0, 0.0])), "flat lattice"),
        (one_crystal(lattice=np.eye(3) * 30), "isolated atoms"),
    ],
)
def test_every_problem_has_its_sentence(crystal, sentence):
    assert sentence in find_problems(crystal)[0]


def test_one_bad_crystal_leaves_the_others_alone(crystals):
    table = as_table(crystals).to_pylist()
    table[1]["frac_coords"] = table[1]["frac_coords"][:-1]
    read = Crystals.from_arrow(pa.Table.from_pylist(table))
    problems = find_problems(read)
    assert "three coordinates for every atomic number" in problems[1]
    assert problems[0] is None
    assert problems[2] is None
    assert read.structure(2) == crystals.structure(2)
