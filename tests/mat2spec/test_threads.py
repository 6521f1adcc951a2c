import torch

from mat2spec.threads import count_workers, worker_threads

TINY = torch.tensor([1e-40])


def test_numbers_that_slow_products_down_are_zero_in_the_threads_and_only_there():
    with worker_threads(torch.device("cpu")) as executor:
        assert float(executor.submit(lambda: TINY * 0.5).result()) == 0
    assert float(TINY * 0.5) > 0


def test_threads_of_several_users_leave_the_number_of_threads_as_it_was():
    torch.set_num_threads(2)
    cpu = torch.device("cpu")
    first, second = worker_threads(cpu), worker_threads(cpu)
    with first:
        pass
    outer = worker_threads(cpu)
    outer.__enter__()
    second.__enter__()
    assert torch.get_num_threads() == 1
    assert count_workers(cpu) == 2
    # The one that came first leaves first.
    outer.__exit__(None, None, None)
    assert torch.get_num_threads() == 1
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
