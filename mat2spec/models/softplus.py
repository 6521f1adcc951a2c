"""Softplus without gradients, as fast as exponentials and logarithms of a processor are."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

# Exponentials of single precision overflow at 88.
_LARGEST_EXPONENT = 80.0
# A megabyte, which stays in the cache of a core.
_NUMBERS_IN_CACHE = 2**18


def softplus_in_place(values: Tensor) -> Tensor:
    """Softplus of a tensor without gradients, in its place where that is faster: on a CPU, to 1e-6."""
    if values.device.type != "cpu" or not values.numel() or values.amax() > _LARGEST_EXPONENT:
        return softplus(values)
    return softplus_of_small(values)


def softplus_of_small(values: Tensor) -> Tensor:
    """The same, of numbers on a CPU that are known to be no larger than that; of larger ones infinite."""
    for rows in values.split(max(1, _NUMBERS_IN_CACHE * len(values) // values.numel())):
        rows.exp_().add_(1).log_()
    return values
