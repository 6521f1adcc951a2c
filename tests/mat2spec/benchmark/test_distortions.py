import numpy as np
import pytest

from mat2spec.benchmark.distortions import (
    DISTORTIONS,
    RELAXED,
    UNRELAXED,
    Distortion,
    choose_materials,
    distort,
    errors_on_distorted,
    growth_table,
    summarise_distorted,
)
from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.settings import GraphSettings
from mat2spec.prediction import load_predictor
from tests.mat2spec.conftest import rock_salt_primitive


@pytest.fixture(scope="module")
def crystals():
    return Crystals.from_structures(
        [rock_salt_primitive(5.6, "Na", "Cl"), rock_salt_primitive(4.2, "Mg", "O")], ["a", "b"]
    )


def test_a_dilation_changes_lengths_alone(crystals):
    longer = distort(crystals, Distortion("", dilation=0.02))
    assert longer.lattices == pytest.approx(1.02 * crystals.lattices)
    assert longer.frac_coords == pytest.approx(crystals.frac_coords)


def test_random_changes_have_their_size_and_do_not_depend_on_company(crystals):
    many = Crystals.from_structures([rock_salt_primitive(5.6, "Na", "Cl")] * 400)
    rattled = distort(many, Distortion("", displacement_a=0.1))
    moved = np.einsum("nsi,nij->nsj", (rattled.frac_coords - many.frac_coords).reshape(400, 2, 3), many.lattices)
    assert moved.std() == pytest.approx(0.1, rel=0.1)
    strain = Distortion("", random_strain=0.02)
    together, alone = distort(crystals, strain), distort(crystals.take(np.array([1])), strain)
    assert together.lattices[1] == pytest.approx(alone.lattices[0], abs=0)
    assert not np.allclose(distort(crystals, strain, seed=1).lattices, together.lattices)
    deformation = np.linalg.inv(crystals.lattices[0]) @ together.lattices[0]
    assert deformation == pytest.approx(deformation.T)


def test_errors_of_every_kind_and_model_are_summarised(data):
    labels = choose_materials(data.load(GraphSettings()).part("test"), most_sites=2, n=4)
    assert len(labels) == 4
    predictor = load_predictor("gatgnn", "phdos", device="cpu")
    table = errors_on_distorted([predictor], data, labels, unrelaxed=labels.crystals.take(np.array([0, 2])))
    assert table.groupby("structures").size().to_dict() == {one.name: 4 for one in DISTORTIONS} | {UNRELAXED: 2}
    # What is given as unrelaxed is the relaxed structure here.
    same = table[table["structures"] == UNRELAXED].merge(table[table["structures"] == RELAXED], on="material_id")
    assert same["error_x"].to_numpy() == pytest.approx(same["error_y"].to_numpy(), abs=1e-4)
    summary = summarise_distorted(table)
    assert summary["group"].tolist() == [*(one.name for one in DISTORTIONS), UNRELAXED]
    assert "+0 %" in growth_table(table).splitlines()[2]


def test_materials_that_fail_in_one_kind_are_left_out_of_all(data):
    labels = choose_materials(data.load(GraphSettings()).part("test"), most_sites=2, n=3)
    table = errors_on_distorted([load_predictor("gatgnn", "phdos", device="cpu")], data, labels)
    failed = table.drop(index=table.index[table["structures"] == "2 % longer"][0])
    assert summarise_distorted(failed)["n"].tolist() == [2] * len(DISTORTIONS)
