"""Crystals of other programs, as data of PyTorch Geometric."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.checks import find_problems
from mat2spec.graphs.from_data import crystals_from_data
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt

CELLS = [rock_salt(), perovskite(), low_symmetry()]


def data_of(structure, **changes):
    attributes = {
        "z": torch.tensor(structure.atomic_numbers),
        "pos": torch.tensor(structure.cart_coords, dtype=torch.float64),
        "cell": torch.tensor(structure.lattice.matrix),
    }
    return Data(**(attributes | changes))


def assert_are(crystals, structures):
    expected = Crystals.from_structures(structures)
    for name in ("atomic_numbers", "frac_coords", "lattices", "offsets"):
        np.testing.assert_allclose(getattr(crystals, name), getattr(expected, name), atol=1e-9, err_msg=name)


def test_one_crystal_several_and_a_batch_are_read_alike():
    data = [data_of(structure, material_id=f"my-{i}") for i, structure in enumerate(CELLS)]
    assert_are(crystals_from_data(data[1]), CELLS[1:2])
    for many in (data, Batch.from_data_list(data)):
        crystals = crystals_from_data(many)
        assert_are(crystals, CELLS)
        assert crystals.material_ids.tolist() == ["my-0", "my-1", "my-2"]


def test_other_names_and_fractional_coordinates_are_read():
    structure = low_symmetry()
    data = Data(
        atomic_numbers=torch.tensor(structure.atomic_numbers),
        frac_coords=torch.tensor(structure.frac_coords),
        lattice=torch.tensor(structure.lattice.matrix)[None],
    )
    assert_are(crystals_from_data([data, data]), [structure, structure])
    assert crystals_from_data([data, data]).material_ids.tolist() == ["crystal-0", "crystal-1"]


def test_no_data_give_no_crystals():
    assert len(crystals_from_data([])) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pos": None}, "have no coordinates, Cartesian and in Angstrom; name them 'pos'"),
        ({"cell": None}, "have no lattice vectors; name them 'cell'"),
        ({"z": None}, "have no atomic numbers; name them 'z'"),
        ({"pos": torch.zeros(3, 3)}, r"coordinates have the shape \(3, 3\) instead of \(5, 3\)"),
        ({"cell": torch.ones(6)}, r"lattice vectors have the shape \(6,\) instead of \(1, 3, 3\)"),
        ({"pbc": torch.tensor([True, True, False])}, "only crystals can be predicted"),
        ({"batch": torch.tensor([0, 1, 0, 1, 1]), "cell": torch.ones(2, 3, 3)}, "sort them by 'batch'"),
        ({"material_id": ["a", "b"]}, "2 names for 1 crystals"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_a_sentence(changes, message):
    with pytest.raises(ValueError, match=message):
        crystals_from_data(data_of(perovskite(), **changes))


def test_a_flat_lattice_is_reported_as_such_and_stops_nobody_else():
    flat = data_of(perovskite(), cell=torch.zeros(3, 3, dtype=torch.float64))
    problems = find_problems(crystals_from_data([flat, data_of(perovskite())]))
    assert "flat lattice" in problems[0]
    assert problems[1] is None
