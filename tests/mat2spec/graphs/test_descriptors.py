"""Descriptors of atoms by a frozen potential: what they belong to, what stops them, and their cache."""

import sys

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.building import build_graphs
from mat2spec.graphs.descriptors import (
    DescriptorError,
    Descriptors,
    cached_site_descriptors,
    load_chgnet,
    site_descriptors,
)
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
        values, found = cached_site_descriptors(crystals, CHGNET, usable, cache)
        np.testing.assert_array_equal(values, plain)
        assert found == problems
        assert found[2] is not None
    asked = []
    monkeypatch.setattr(
        "mat2spec.graphs.descriptors.site_descriptors",
        lambda part, *rest: asked.append(len(part)) or site_descriptors(part, *rest),
    )
    settings = GraphSettings(descriptors=CHGNET)
    graphs, _ = build_graphs(crystals, settings, cache)
    assert asked == [2]  # the perovskite, and the gas, of which there is nothing to store
    torch.testing.assert_close(graphs.descriptors, build_graphs(crystals, settings)[0].descriptors, atol=1e-5, rtol=0)


def test_a_missing_chgnet_is_named_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "chgnet.model", None)
    load_chgnet.cache_clear()
    with pytest.raises(DescriptorError, match="CHGNet is not installed; run `pip install chgnet`"):
        load_chgnet("0.3.0")
