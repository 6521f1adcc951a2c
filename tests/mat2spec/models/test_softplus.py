import pytest
import torch
from torch.nn.functional import softplus

from mat2spec.models.softplus import softplus_in_place


@pytest.mark.parametrize("largest", [0.0, 15.0, 79.0, 500.0])
def test_softplus_in_place_is_softplus(largest):
    values = torch.randn(300, 7, generator=torch.Generator().manual_seed(0)) * 5 - 5
    values[211, 3] = largest
    expected = softplus(values)
    assert torch.allclose(softplus_in_place(values), expected, rtol=1e-6, atol=2e-7)
    assert softplus_in_place(values[:0]).shape == (0, 7)
