"""Ends of edges: a node seen over a length, which many edges share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_LENGTH_BITS = 32


class DifferentEnds(NamedTuple):
    """The different pairs of a node and a length, ordered by node, then length.

    Parameters
    ----------
    node, length
        Of each pair, shape (n_ends,).
    end
        Which pair each row is, shape (n_rows,).
    """

    node: Tensor
    length: Tensor
    end: Tensor


def different_ends(node: Tensor, length: Tensor) -> DifferentEnds:
    """Find the different pairs of a node and a length, a positive number of single precision; both of shape (n_rows,).

    The bits of positive numbers are ordered as the numbers are: a pair is one integer.
    """
    pairs, end = torch.unique((node << _LENGTH_BITS) | length.view(torch.int32), return_inverse=True)
    bits = pairs & (2**_LENGTH_BITS - 1)
    return DifferentEnds(pairs >> _LENGTH_BITS, bits.to(torch.int32).view(torch.float32), end)
