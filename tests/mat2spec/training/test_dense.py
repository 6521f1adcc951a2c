"""The encoder on padded crystals gives what it gives on graphs."""

import pytest
import torch

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.building import build_graphs
from mat2spec.models.encoder import CrystalEncoder, EncoderSettings
from mat2spec.training.dense import DenseCrystals, DenseEncoder
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt, rock_salt_primitive


@pytest.fixture
def graphs():
    structures = [rock_salt(), perovskite(), low_symmetry(), rock_salt_primitive()]
    return build_graphs(Crystals.from_structures(structures))[0]


@pytest.fixture
def encoder():
    return CrystalEncoder(EncoderSettings(width=16, n_heads=2))


def test_vectors_and_stored_statistics_of_a_training_batch_are_those_of_the_graphs(graphs, encoder):
    dense = DenseEncoder(encoder)
    before = [norm.running_var.clone() for norm in encoder.norms]
    vectors, statistics = dense(DenseCrystals.of(graphs, encoder))
    torch.testing.assert_close(vectors, encoder(graphs), rtol=1e-4, atol=1e-5)
    for norm, old, (_, variance) in zip(encoder.norms, before, statistics, strict=True):
        torch.testing.assert_close(norm.running_var, 0.9 * old + 0.1 * variance)


def test_vectors_of_evaluation_and_gradients_are_those_of_the_graphs(graphs, encoder):
    encoder(graphs)  # statistics other than those of a new encoder
    encoder.eval()
    vectors, _ = DenseEncoder(encoder)(DenseCrystals.of(graphs, encoder))
    expected = encoder(graphs)
    torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)
    parameters = list(encoder.parameters())
    found = torch.autograd.grad(vectors.square().sum(), parameters)
    for one, other in zip(found, torch.autograd.grad(expected.square().sum(), parameters), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_crystals_are_taken_by_indices_of_any_shape(graphs, encoder):
    crystals = DenseCrystals.of(graphs, encoder)
    taken = crystals.take(torch.tensor([[0, 2], [1, 1]]))
    assert taken.neighbour.shape == (2, 2, *crystals.neighbour.shape[1:])
    assert torch.equal(taken.length[1, 0], crystals.length[1])
    assert crystals.multiplicity.sum(dim=1).tolist() == graphs.n_atoms.tolist()
