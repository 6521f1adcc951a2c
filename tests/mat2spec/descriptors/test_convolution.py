import pytest
import torch
from e3nn.o3 import Irreps
from sevenn.nn.convolution import IrrepsConvolution

from mat2spec.descriptors.convolution import KEY_EDGES, EdgeConvolution
from mat2spec.descriptors.edges_by_atom import EdgesByAtom

HARMONICS = Irreps("1x0e+1x1e+1x2e")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("6x0e", "1x0e+1x1e+1x2e"), ("6x0e+4x1e+2x2e", "1x0e+1x1e+1x2e"), ("6x0e+4x1e+2x2e", "1x0e")],
)
@pytest.mark.parametrize("edges_per_piece", [1, 8, 1000])
@pytest.mark.parametrize("n_edges", [0, 23])
def test_sums_are_those_of_the_packaged_convolution(given, wanted, edges_per_piece, n_edges):
    torch.manual_seed(0)
    packaged = IrrepsConvolution(
        Irreps(given), HARMONICS, Irreps(wanted), [8, 16], torch.nn.functional.silu, 3.0, lazy_layer_instantiate=False
    )
    n_atoms, n_lengths = 7, 5

    def data():
        torch.manual_seed(1)
        length = torch.randint(n_lengths, (n_edges,))
        # The last atom has no edges.
        ends = torch.randint(n_atoms - 1, (2, n_edges))
        return {
            packaged.key_x: torch.randn(n_atoms, Irreps(given).dim),
            packaged.key_filter: torch.randn(n_edges, HARMONICS.dim),
            packaged.key_weight_input: torch.randn(n_lengths, 8)[length],
            packaged.key_edge_idx: ends,
            KEY_EDGES: EdgesByAtom.of(ends[1].numpy(), ends[0].numpy(), 1.5 + length.numpy(), n_atoms, edges_per_piece),
        }

    with torch.no_grad():
        expected = packaged(data())[packaged.key_x]
        found = EdgeConvolution(packaged)(data())[packaged.key_x]
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert expected.abs().max() > 0.1 or not n_edges
