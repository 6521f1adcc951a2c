import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.prototypes import prototypes
from mat2spec.labels.splits import Part, split_of_label
from scripts.distillation.population import Population
from scripts.distillation.substitution import atomic_volumes, choose_substituted, similar_elements, substitute
from tests.mat2spec.conftest import low_symmetry, perovskite


@pytest.fixture(scope="module")
def population():
    metals, anions = ("Mg", "Ca", "Sr", "Ba", "Mn", "Fe", "Co", "Ni"), ("O", "S", "Se", "Te")
    structures = [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), [metal, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])
        for metal, length in zip(metals, (4.2, 4.8, 5.2, 5.5, 4.4, 4.3, 4.3, 4.2), strict=True)
        for anion in anions
    ]
    structures += [perovskite(elements=(a, b, "O")) for a in ("Ca", "Sr", "Ba") for b in ("Ti", "V", "Cr")]
    crystals = Crystals.from_structures([*structures, low_symmetry()])
    formulas = np.array(ElementCounts.from_crystals(crystals).reduced_formulas())
    kinds = prototypes(crystals)
    split = np.array([str(split_of_label(f, p, Part.RANDOM)) for f, p in zip(formulas, kinds, strict=True)])
    return Population(crystals, formulas, np.full(len(formulas), np.nan, dtype=np.float32), split)


def test_one_element_is_replaced_by_a_similar_one_and_the_volume_follows(population):
    crystals = population.crystals
    new = substitute(crystals, np.random.default_rng(0))
    similar, volume_of = similar_elements(np.unique(crystals.atomic_numbers)), atomic_volumes(crystals)
    for index in range(len(crystals)):
        old, now = (each.cell(index).atomic_numbers for each in (crystals, new))
        (replaced,) = np.unique(old[old != now])
        (coming,) = np.unique(now[old != now])
        assert coming in similar[replaced]
        assert (old != now).sum() == (old == replaced).sum()
        assert new.volumes[index] / crystals.volumes[index] == pytest.approx(
            volume_of[now].sum() / volume_of[old].sum()
        )
        assert str(new.material_ids[index]).startswith(f"{crystals.material_ids[index]} with ")
    assert crystals.atomic_numbers.tolist() == population.crystals.atomic_numbers.tolist()


def test_volumes_of_atoms_add_up_to_those_of_cells(population):
    volumes = atomic_volumes(population.crystals)
    assert volumes[56] > volumes[12]
    assert (volumes > 0).all()


def test_hypothetical_crystals_are_new_allowed_and_of_the_training_split(population):
    every = choose_substituted(population, set(), 60)
    assert len(every.formulas) > 10
    assert not set(every.formulas) & set(population.formulas)
    assert len(set(zip(every.formulas, prototypes(every.crystals), strict=True))) == len(every.formulas)
    for formula, prototype in zip(every.formulas, prototypes(every.crystals), strict=True):
        assert split_of_label(str(formula), str(prototype), Part.RANDOM) == "train"
    banned = str(every.formulas[0])
    assert banned not in choose_substituted(population, {banned}, 60).formulas
    again = choose_substituted(population, set(), 60)
    assert again.formulas.tolist() == every.formulas.tolist()
