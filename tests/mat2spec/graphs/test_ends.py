import torch
from hypothesis import given
from hypothesis import strategies as st

from mat2spec.graphs.ends import different_ends

rows = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 20, width=32)), max_size=30)


@given(rows)
def test_ends_are_the_sorted_pairs_and_every_row_finds_its_own(pairs):
    node = torch.tensor([node for node, _ in pairs], dtype=torch.int64)
    length = torch.tensor([length for _, length in pairs], dtype=torch.float32).abs()
    found = different_ends(node, length)
    assert list(zip(found.node.tolist(), found.length.tolist(), strict=True)) == sorted(
        set(zip(node.tolist(), length.tolist(), strict=True))
    )
    torch.testing.assert_close(found.node[found.end], node)
    torch.testing.assert_close(found.length[found.end], length, rtol=0, atol=0)


def test_many_nodes_fit():
    node = torch.tensor([2**30, 2**30 - 1])
    assert different_ends(node, torch.tensor([7.5, 7.5])).node.tolist() == [2**30 - 1, 2**30]
