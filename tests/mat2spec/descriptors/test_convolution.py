import pytest
import torch
from e3nn.o3 import Irreps
from sevenn.nn.convolution import IrrepsConvolution

from mat2spec.descriptors import convolution
from mat2spec.descriptors.convolution import EdgeConvolution

HARMONICS = Irreps("1x0e+1x1e+1x2e")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("6x0e", "1x0e+1x1e+1x2e"), ("6x0e+4x1e+2x2e", "1x0e+1x1e+1x2e"), ("6x0e+4x1e+2x2e", "1x0e")],
)
@pytest.mark.parametrize("piece", [5, 1000])
def test_sums_are_those_of_the_packaged_convolution(given, wanted, piece, monkeypatch):
    monkeypatch.setattr(convolution, "EDGES_PER_PIECE", piece)
    torch.manual_seed(0)
    packaged = IrrepsConvolution(
        Irreps(given), HARMONICS, Irreps(wanted), [8, 16], torch.nn.functional.silu, 3.0, lazy_layer_instantiate=False
    )
    n_atoms, n_edges = 7, 23

    def data():
        torch.manual_seed(1)
        return {
            packaged.key_x: torch.randn(n_atoms, Irreps(given).dim),
            packaged.key_filter: torch.randn(n_edges, HARMONICS.dim),
            packaged.key_weight_input: torch.randn(n_edges, 8),
            packaged.key_edge_idx: torch.randint(n_atoms, (2, n_edges)),
        }

    with torch.no_grad():
        expected = packaged(data())[packaged.key_x]
        found = EdgeConvolution(packaged)(data())[packaged.key_x]
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert expected.abs().max() > 0.1
