import numpy as np
import pytest
import torch

from mat2spec.models import build_model
from mat2spec.spectra.normalisation import Setting
from mat2spec.training.batching import load_batches, split_in_batches, with_targets
from tests.mat2spec.conftest import SMALL_SIZES


@pytest.mark.parametrize("size", [1, 5, 18, 19, 27, 28])
def test_batches_cover_everything_and_never_leave_one_alone(size):
    parts = list(split_in_batches(np.arange(size), 9))
    assert np.concatenate(parts).tolist() == list(range(size))
    assert size == 1 or min(len(part) for part in parts) > 1


def test_batches_carry_graphs_and_targets_of_the_same_crystals_in_the_order_given(labelled):
    model = build_model("gatgnn", SMALL_SIZES["gatgnn"], 128, Setting.SUMNORM_KL)
    order = np.random.default_rng(1).permutation(len(labelled))
    batches = list(load_batches(with_targets(model, labelled), order, 16))
    assert [batch.num_graphs for batch in batches] == [16, 16, 8]
    targets = torch.cat([batch.y for batch in batches]).numpy()
    spectra = labelled.spectra[order]
    np.testing.assert_allclose(targets, spectra / spectra.sum(axis=1, keepdims=True), rtol=1e-5)
    numbers = torch.cat([batch.atomic_numbers for batch in batches]).numpy()
    assert numbers.tolist() == labelled.graphs.take(order).atomic_numbers.tolist()
    assert "y" not in labelled.graphs


def test_batches_leave_the_random_numbers_of_a_training_alone(labelled):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    list(load_batches(labelled.graphs, np.arange(len(labelled)), 16))
    torch.testing.assert_close(torch.rand(2), expected)
