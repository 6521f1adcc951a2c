import torch

from mat2spec.threads import worker_threads

TINY = torch.tensor([1e-40])


def test_numbers_that_slow_products_down_are_zero_in_the_threads_and_only_there():
    with worker_threads(torch.device("cpu")) as executor:
        assert float(executor.submit(lambda: TINY * 0.5).result()) == 0
    assert float(TINY * 0.5) > 0
