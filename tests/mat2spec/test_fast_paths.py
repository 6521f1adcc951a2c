"""Every fast form of the encoder computes what its plain form computes.

Elsewhere: merged sites and the divergence by matrix products in test_models.py, the growing search
radius in test_graphs.py.
"""

import numpy as np
import pytest
import torch
from torch.nn.functional import leaky_relu, softplus

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs import GraphSettings, build_graphs
from mat2spec.models.encoder import CrystalEncoder, EncoderSettings, Ends, GraphAttention
from mat2spec.tensors import GraphTensors, softmax_by_group
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt

CELLS = [rock_salt(), perovskite(), low_symmetry(), low_symmetry() * (2, 1, 1)]


@pytest.fixture(params=[True, False], ids=["merged sites", "all sites"])
def graph(request):
    batch, problems = build_graphs(Crystals.from_structures(CELLS), GraphSettings(merge_sites=request.param))
    assert not any(problems)
    return GraphTensors.from_batch(batch)


def plain_attention(layer, nodes, per_edge, graph):
    """One matrix on the concatenated [node, edge] of every single edge, heads and neighbours in loops."""
    matrix = torch.cat([layer.node.weight, layer.edge.weight], dim=1)
    shape = (-1, layer.n_heads, layer.width)
    centre = softplus(torch.cat([nodes[graph.centre], per_edge], dim=1) @ matrix.T).view(shape)
    neighbour = softplus(torch.cat([nodes[graph.neighbour], per_edge], dim=1) @ matrix.T).view(shape)
    concatenated = torch.cat([centre, neighbour], dim=2)
    vector = torch.cat([layer.attention[0], layer.attention[1]], dim=1)
    scores = softplus((concatenated * vector).sum(dim=2))
    rows = []
    for node in range(len(nodes)):
        own = graph.centre == node
        # A link that stands for m equal ones is counted m times.
        repeats = graph.edge_multiplicity[own].long()
        weights = torch.softmax(scores[own].repeat_interleave(repeats, dim=0), dim=0)
        messages = neighbour[own].repeat_interleave(repeats, dim=0) * weights[:, :, None]
        rows.append(messages.sum(dim=0).mean(dim=0))
    return torch.stack(rows) + layer.bias


def plain_encoder(encoder, graph):
    """The encoder with Gaussians and projections of every single edge."""
    nodes = encoder.embed_node(encoder.elements[graph.atomic_numbers])
    distances = graph.lengths[graph.length_index]
    per_edge = leaky_relu(encoder.embed_edge(encoder.basis(distances)), 0.2)
    for layer, norm in zip(encoder.layers, encoder.norms, strict=True):
        nodes = softplus(norm(plain_attention(layer, nodes, per_edge, graph)))
    return softplus(encoder.pool(nodes, graph))


def assert_same_with_gradients(fast, plain, parameters):
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)
    direction = torch.linspace(-1, 1, fast.numel()).view(fast.shape)
    gradients = [torch.autograd.grad((output * direction).sum(), parameters) for output in (fast, plain)]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("n_heads", [1, 4])
def test_split_attention_is_that_of_the_concatenated_matrix(graph, n_heads):
    torch.manual_seed(0)
    layer = GraphAttention(16, n_heads)
    nodes = torch.randn(len(graph.atomic_numbers), 16)
    edges = torch.randn(len(graph.lengths), 16)
    fast = layer(nodes, edges, graph, Ends.of(graph))
    plain = plain_attention(layer, nodes, edges[graph.length_index], graph)
    assert_same_with_gradients(fast, plain, list(layer.parameters()))


def test_projections_of_distinct_lengths_are_those_of_all_edges(graph):
    torch.manual_seed(0)
    encoder = CrystalEncoder(EncoderSettings(width=16, n_heads=2)).eval()
    assert len(graph.lengths) < len(graph.centre)
    assert_same_with_gradients(encoder(graph), plain_encoder(encoder, graph), list(encoder.parameters()))


def test_ends_are_those_of_the_edges_and_fewer(graph):
    ends = Ends.of(graph)
    torch.testing.assert_close(ends.node[ends.centre], graph.centre)
    torch.testing.assert_close(ends.node[ends.neighbour], graph.neighbour)
    for side in (ends.centre, ends.neighbour):
        torch.testing.assert_close(ends.length_index[side], graph.length_index)
    assert len(ends.node) <= 1.2 * len(graph.centre)
    degree = np.bincount(graph.centre.numpy(), minlength=len(graph.atomic_numbers))
    assert ends.offsets.tolist() == [0, *np.cumsum(degree).tolist()]


def test_softmax_counts_a_row_as_often_as_it_stands_for():
    scores = torch.tensor([[0.3], [-1.0], [2.0], [0.5]])
    multiplicity, group = torch.tensor([2.0, 1.0, 3.0, 1.0]), torch.tensor([0, 0, 1, 1])
    weights = softmax_by_group(scores, multiplicity, group, 2)[:, 0]
    plain = torch.softmax(torch.tensor([0.3, 0.3, -1.0]), dim=0)
    torch.testing.assert_close(weights[:2], torch.stack([plain[:2].sum(), plain[2]]))
    torch.testing.assert_close(weights[2:].sum(), torch.tensor(1.0))


def test_a_batch_of_one_is_encoded_as_in_company():
    torch.manual_seed(0)
    encoder = CrystalEncoder(EncoderSettings(width=16, n_heads=2)).eval()
    both, _ = build_graphs(Crystals.from_structures(CELLS[:2]))
    alone = GraphTensors.from_batch(both.take(np.array([1])))
    with torch.no_grad():
        torch.testing.assert_close(encoder(alone)[0], encoder(GraphTensors.from_batch(both))[1], atol=1e-6, rtol=1e-5)
