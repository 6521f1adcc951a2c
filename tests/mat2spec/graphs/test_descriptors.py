"""Descriptors of atoms by a frozen potential: what they belong to, what stops them, and their cache."""

import sys

import numpy as np
import pytest
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


def test_cache_is_read_again_for_the_same_crystals_only(tmp_path, monkeypatch):
    crystals, usable = Crystals.from_structures([rock_salt()]), np.array([True])
    first, _ = cached_site_descriptors(crystals, CHGNET, usable, tmp_path)
    monkeypatch.setattr("mat2spec.graphs.descriptors.site_descriptors", lambda *_: pytest.fail("computed again"))
    again, problems = cached_site_descriptors(crystals, CHGNET, usable, tmp_path)
    np.testing.assert_array_equal(again, first)
    assert problems == [None]
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        cached_site_descriptors(Crystals.from_structures([rock_salt(5.7)]), CHGNET, usable, tmp_path)


def test_a_missing_chgnet_is_named_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "chgnet.model", None)
    load_chgnet.cache_clear()
    with pytest.raises(DescriptorError, match="CHGNet is not installed; run `pip install chgnet`"):
        load_chgnet("0.3.0")
