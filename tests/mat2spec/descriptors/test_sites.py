"""Descriptors of atoms by frozen potentials: what they belong to, what stops them, and their cache."""

import sys

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors import chgnet, sevennet
from mat2spec.descriptors.chgnet import DescriptorError, load_chgnet
from mat2spec.descriptors.kinds import Descriptors, SevenNetVersion
from mat2spec.descriptors.sevennet import site_scalars
from mat2spec.descriptors.sites import site_descriptors
from mat2spec.graphs.building import build_graphs
from mat2spec.graphs.settings import GraphSettings
from mat2spec.tables.array_cache import ArrayCache
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt, rock_salt_primitive

CHGNET = Descriptors.CHGNET


def describe(*structures):
    crystals = Crystals.from_structures(structures)
    return site_descriptors(crystals, CHGNET, np.ones(len(crystals), dtype=bool))


def test_equivalent_atoms_are_described_alike_and_others_are_not():
    descriptors, problems = describe(rock_salt(), rock_salt_primitive())
    assert problems == [None, None]
    assert descriptors.shape == (10, CHGNET.width)
    for sodium in descriptors[[1, 2, 3, 8]]:
        np.testing.assert_allclose(sodium, descriptors[0], atol=1e-4)
    assert np.abs(descriptors[4] - descriptors[0]).max() > 0.1


def test_a_crystal_is_described_alone_as_in_company():
    alone, _ = describe(low_symmetry())
    together, _ = describe(perovskite(), low_symmetry(), rock_salt())
    np.testing.assert_allclose(together[5 : 5 + len(alone)], alone, atol=1e-5)


def test_atoms_too_far_apart_are_a_reason_and_stop_nobody_else():
    gas = Structure(Lattice.cubic(7.0), ["Ar"], [[0, 0, 0]])
    graphs, problems = build_graphs(
        Crystals.from_structures([gas, rock_salt()]), GraphSettings(descriptors=CHGNET, cutoff_a=8.0)
    )
    assert problems[0] is not None
    assert "CHGNet cannot make a graph" in problems[0]
    assert problems[1] is None
    assert graphs.descriptors.shape == (2, CHGNET.width)
    assert graphs.n_nodes.tolist() == [0, 2]


def test_cached_descriptors_are_computed_once_for_each_crystal(tmp_path, monkeypatch):
    structures = [rock_salt(), perovskite(), Structure(Lattice.cubic(7.0), ["Ar"], [[0, 0, 0]])]
    crystals, cache = Crystals.from_structures(structures), ArrayCache(tmp_path, 2**30)
    usable = np.array([True, False, True])
    plain, problems = site_descriptors(crystals, CHGNET, usable)
    for _ in range(2):
        values, found = site_descriptors(crystals, CHGNET, usable, cache)
        np.testing.assert_array_equal(values, plain)
        assert found == problems
        assert found[2] is not None
    asked = []
    monkeypatch.setattr(
        chgnet,
        "site_vectors",
        lambda part, *rest, plain=chgnet.site_vectors: asked.append(len(part)) or plain(part, *rest),
    )
    settings = GraphSettings(descriptors=CHGNET)
    graphs, _ = build_graphs(crystals, settings, cache)
    assert asked == [2]  # the perovskite, and the gas, of which there is nothing to store
    torch.testing.assert_close(graphs.descriptors, build_graphs(crystals, settings)[0].descriptors, atol=1e-5, rtol=0)


def test_three_potentials_stand_side_by_side_whatever_the_cell(tmp_path):
    cells = [rock_salt(), rock_salt_primitive(), low_symmetry()]
    crystals, usable = Crystals.from_structures(cells), np.ones(3, dtype=bool)
    values, problems = site_descriptors(crystals, Descriptors.THREE_POTENTIALS, usable, ArrayCache(tmp_path, 2**30))
    assert problems == [None] * 3
    assert values.shape == (14, Descriptors.THREE_POTENTIALS.width)
    np.testing.assert_array_equal(values[:, : CHGNET.width], site_descriptors(crystals, CHGNET, usable)[0])
    np.testing.assert_allclose(values[[0, 4]], values[[8, 9]], atol=1e-4)
    last = site_scalars([PrimitiveCell.of_crystal(crystals, 1)], SevenNetVersion.L3I5)[0]
    np.testing.assert_allclose(values[8:10, -SevenNetVersion.L3I5.width :], last, atol=1e-4)
    sulphur = site_descriptors(crystals, Descriptors.THREE_POTENTIALS, np.array([False, False, True]))[0]
    assert (sulphur[:10] == 0).all()
    np.testing.assert_allclose(sulphur[10:], values[10:], atol=1e-4)


def test_an_element_that_one_potential_does_not_know_is_a_reason_and_stops_nobody_else():
    radium = Structure(Lattice.cubic(6.6), ["Ra", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    crystals = Crystals.from_structures([radium, rock_salt_primitive()])
    values, problems = site_descriptors(crystals, Descriptors.THREE_POTENTIALS, np.ones(2, dtype=bool))
    assert problems == ["SevenNet, which describes its atoms, does not know the elements with Z = [88].", None]
    assert (values[:2] == 0).all()
    assert (values[2:] != 0).any(axis=1).all()


def test_a_crystal_that_fails_among_others_fails_alone(monkeypatch):
    def fails_with_strontium(cells, *rest, plain=sevennet.cached_site_scalars):
        if any(38 in cell.atomic_numbers for cell in cells):
            raise RuntimeError("index out of range")
        return plain(cells, *rest)

    monkeypatch.setattr(sevennet, "cached_site_scalars", fails_with_strontium)
    crystals = Crystals.from_structures([perovskite(), rock_salt_primitive()])
    values, problems = site_descriptors(crystals, Descriptors.THREE_POTENTIALS, np.ones(2, dtype=bool))
    assert problems == ["SevenNet cannot describe its atoms: index out of range", None]
    assert (values[:5] == 0).all()
    assert (values[5:] != 0).any(axis=1).all()


def test_a_missing_chgnet_is_named_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "chgnet.model", None)
    load_chgnet.cache_clear()
    with pytest.raises(DescriptorError, match="CHGNet is not installed; run `pip install chgnet`"):
        load_chgnet("0.3.0")
