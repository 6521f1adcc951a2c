"""Without gradients, in pieces, attention gives what it gives with them, for real crystals and the weights that ship."""

import copy

import numpy as np
import pytest
import torch

from mat2spec.graphs.building import build_graphs
from mat2spec.models import fast_attention
from mat2spec.models.attention import Ends
from mat2spec.models.fast_attention import Links, attend
from mat2spec.prediction import load_predictor
from mat2spec.settings import DATA_DIR
from screening.sources.parquet import ParquetSource

N_CATALOGUE = 80


@pytest.fixture(scope="module")
def graph():
    source = ParquetSource(DATA_DIR / "catalogue.parquet", limit=N_CATALOGUE)
    graphs, problems = build_graphs(source.crystals(sorted(source.ids())))
    return graphs.take(np.flatnonzero([problem is None for problem in problems]))


@pytest.fixture(scope="module", params=["student", "mat2spec", "gatgnn"])
def predictor(request):
    return load_predictor(request.param, device="cpu")


@pytest.mark.parametrize("edges_of_a_piece", [1, 700, 10**9])
def test_encodings_and_spectra_are_those_with_gradients(predictor, graph, edges_of_a_piece, monkeypatch):
    monkeypatch.setattr(fast_attention, "EDGES_OF_A_PIECE", edges_of_a_piece)
    for model in (predictor.shape_model, predictor.scale_model):
        plain, spectra = model.encoder(graph).detach(), model(graph).detach()
        with torch.inference_mode():
            fast, quickly = model.encoder(graph), model.forward_from_vectors(model.encoder(graph), graph)
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
        off = (quickly - spectra).abs().amax(dim=1) / spectra.abs().amax(dim=1)
        assert off.max() < 1e-5


@pytest.mark.parametrize("scale", [1.0, 40.0, 3000.0])
def test_large_numbers_do_not_overflow(predictor, graph, scale):
    layer = predictor.shape_model.encoder.layers[0]
    ends, links = Ends.of(graph), Links.of(graph)
    generator = torch.Generator().manual_seed(0)
    nodes = scale * torch.randn(len(graph.atomic_numbers), layer.width, generator=generator)
    edges = scale * torch.randn(len(ends.lengths), layer.width, generator=generator)
    # In double precision: in single, the plain layer itself is off by 2e-3 where its exponents are thousands.
    exact = copy.deepcopy(layer).double()(nodes.double(), edges.double(), ends, graph.edge_multiplicity.double())
    with torch.inference_mode():
        fast = attend(layer, nodes, edges, links)
    assert torch.isfinite(fast).all()
    torch.testing.assert_close(fast.double(), exact, rtol=1e-3, atol=1e-5 * float(exact.abs().max()))


def test_pieces_are_the_edges_of_the_batch_in_order(graph, monkeypatch):
    monkeypatch.setattr(fast_attention, "EDGES_OF_A_PIECE", 500)
    ends, links = Ends.of(graph), Links.of(graph)
    assert len(links.pieces) > 2
    assert sum(len(piece.parts) for piece in links.pieces) == len(ends.parts)
    first_node = np.cumsum([0, *(len(piece.first) - 1 for piece in links.pieces)]).tolist()
    for row, side in enumerate(("neighbour", "centre")):
        nodes = [
            piece.parts[getattr(piece, side), 0] + first for piece, first in zip(links.pieces, first_node, strict=False)
        ]
        torch.testing.assert_close(torch.cat(nodes), graph.edges[row])
    lengths = torch.cat([piece.parts[piece.neighbour, 1] for piece in links.pieces]) - links.most_nodes
    torch.testing.assert_close(links.lengths[lengths], graph.edge_length)
