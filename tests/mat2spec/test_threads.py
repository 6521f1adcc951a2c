import torch

from mat2spec.threads import flushed_denormals, worker_threads

TINY = torch.tensor([1e-40])


def test_numbers_that_slow_products_down_are_zero_in_the_threads_and_only_there():
    with worker_threads(torch.device("cpu")) as executor:
        assert float(executor.submit(lambda: TINY * 0.5).result()) == 0
    assert float(TINY * 0.5) > 0


def test_denormals_are_flushed_inside_only_and_stay_so_where_they_were():
    for before in (False, True):
        torch.set_flush_denormal(before)
        try:
            with flushed_denormals():
                assert TINY * 0.5 == 0
            assert bool(TINY * 0.5 == 0) is before
        finally:
            torch.set_flush_denormal(False)
