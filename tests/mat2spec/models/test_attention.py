"""Attention over neighbours computes what its plain form computes, merged sites and all."""

import numpy as np
import pytest
import torch
from torch.nn.functional import leaky_relu, softplus
from torch_geometric.utils import softmax

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.building import build_graphs
from mat2spec.graphs.settings import GraphSettings
from mat2spec.models.attention import Ends, GraphAttention
from mat2spec.models.encoder import CrystalEncoder, EncoderSettings
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt

CELLS = [rock_salt(), perovskite(), low_symmetry(), low_symmetry() * (2, 1, 1)]


@pytest.fixture(params=[True, False], ids=["merged sites", "all sites"])
def graph(request):
    graphs, problems = build_graphs(Crystals.from_structures(CELLS), GraphSettings(merge_sites=request.param))
    assert not any(problems)
    return graphs


def plain_attention(layer, nodes, per_edge, graph):
    """One matrix on the concatenated [node, edge] of every single edge, heads and neighbours in loops."""
    far, near = graph.edges
    matrix = torch.cat([layer.node.weight, layer.edge.weight], dim=1)
    shape = (-1, layer.n_heads, layer.width)
    centre = softplus(torch.cat([nodes[near], per_edge], dim=1) @ matrix.T).view(shape)
    neighbour = softplus(torch.cat([nodes[far], per_edge], dim=1) @ matrix.T).view(shape)
    concatenated = torch.cat([centre, neighbour], dim=2)
    vector = torch.cat([layer.attention[0], layer.attention[1]], dim=1)
    scores = softplus((concatenated * vector).sum(dim=2))
    rows = []
    for node in range(len(nodes)):
        own = near == node
        # A link that stands for m equal ones is counted m times.
        repeats = graph.edge_multiplicity[own].long()
        weights = torch.softmax(scores[own].repeat_interleave(repeats, dim=0), dim=0)
        messages = neighbour[own].repeat_interleave(repeats, dim=0) * weights[:, :, None]
        rows.append(messages.sum(dim=0).mean(dim=0))
    return torch.stack(rows) + layer.bias


def plain_encoder(encoder, graph):
    """The encoder with Gaussians and projections of every single edge."""
    nodes = encoder.embed_node(encoder.elements[graph.atomic_numbers])
    per_edge = leaky_relu(encoder.embed_edge(encoder.basis(graph.edge_length)), 0.2)
    for layer, norm in zip(encoder.layers, encoder.norms, strict=True):
        nodes = softplus(norm(plain_attention(layer, nodes, per_edge, graph)))
    return softplus(encoder.pool_nodes(nodes, graph))


def assert_same_with_gradients(fast, plain, parameters):
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)
    direction = torch.linspace(-1, 1, fast.numel()).view(fast.shape)
    gradients = [torch.autograd.grad((output * direction).sum(), parameters) for output in (fast, plain)]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("n_heads", [1, 4])
def test_split_attention_is_that_of_the_concatenated_matrix(graph, n_heads, fused):
    torch.manual_seed(0)
    layer = GraphAttention(16, n_heads)
    layer.fuse = fused
    ends = Ends.of(graph)
    nodes = torch.randn(len(graph.atomic_numbers), 16)
    edges = torch.randn(len(ends.lengths), 16)
    fast = layer(nodes, edges, ends, graph.edge_multiplicity)
    per_edge = edges[torch.searchsorted(ends.lengths, graph.edge_length)]
    plain = plain_attention(layer, nodes, per_edge, graph)
    assert_same_with_gradients(fast, plain, list(layer.parameters()))


def test_projections_of_distinct_lengths_are_those_of_all_edges(graph):
    torch.manual_seed(0)
    encoder = CrystalEncoder(EncoderSettings(width=16, n_heads=2)).eval()
    assert len(Ends.of(graph).lengths) < graph.num_edges
    assert_same_with_gradients(encoder(graph), plain_encoder(encoder, graph), list(encoder.parameters()))


def test_ends_are_those_of_the_edges_and_fewer(graph):
    ends = Ends.of(graph)
    neighbour, centre = graph.edges
    at_neighbour, at_node = ends.edge_index.validate().as_tensor()
    torch.testing.assert_close(at_node, centre)
    node, length_index = ends.parts[:, 0], ends.parts[:, 1] - graph.num_nodes
    torch.testing.assert_close(node[ends.centre], centre)
    torch.testing.assert_close(node[at_neighbour], neighbour)
    for side in (ends.centre, at_neighbour):
        torch.testing.assert_close(ends.lengths[length_index[side]], graph.edge_length)
    assert len(node) <= 1.2 * len(centre)
    degree = np.bincount(centre.numpy(), minlength=graph.num_nodes)
    assert ends.edge_index.get_indptr().tolist() == [0, *np.cumsum(degree).tolist()]


def test_a_prior_of_log_multiplicity_counts_a_row_as_often_as_it_stands_for():
    scores = torch.tensor([0.3, -1.0, 2.0, 0.5])
    multiplicity, ptr = torch.tensor([2, 1, 3, 1]), torch.tensor([0, 2, 4])
    weights = softmax(scores + multiplicity.log(), ptr=ptr)
    plain = torch.softmax(torch.tensor([0.3, 0.3, -1.0]), dim=0)
    torch.testing.assert_close(weights[:2], torch.stack([plain[:2].sum(), plain[2]]))
    torch.testing.assert_close(weights[2:].sum(), torch.tensor(1.0))


def test_companions_do_not_change_an_encoding():
    torch.manual_seed(0)
    encoder = CrystalEncoder(EncoderSettings(width=16, n_heads=2)).eval()
    both, _ = build_graphs(Crystals.from_structures(CELLS[:2]))
    with torch.no_grad():
        torch.testing.assert_close(encoder(both[1])[0], encoder(both)[1], atol=1e-6, rtol=1e-5)
