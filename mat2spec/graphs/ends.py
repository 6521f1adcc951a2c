"""Ends of edges: pairs of a node and a length, shared by many edges."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_LENGTH_BITS = 32


class DifferentEnds(NamedTuple):
    """The distinct pairs of a node and a length, ordered by node, then length.

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
    """Find the distinct pairs of a node and a length, a positive number of single precision; both of shape (n_rows,).

    The bits of positive floats are ordered like the floats, so a pair can be encoded as one integer.
    """
    pairs, end = torch.unique((node << _LENGTH_BITS) | length.view(torch.int32), return_inverse=True)
    bits = pairs & (2**_LENGTH_BITS - 1)
    return DifferentEnds(pairs >> _LENGTH_BITS, bits.to(torch.int32).view(torch.float32), end)
