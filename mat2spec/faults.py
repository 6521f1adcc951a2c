"""Whose fault an error is: that of one crystal, which becomes a row with its reason, or that of the machine."""

from __future__ import annotations

import torch

# What libraries raise over one crystal that they cannot handle.
CRYSTAL_FAULTS = (RuntimeError, ValueError, ArithmeticError, LookupError)
_WORDS_OF_FULL_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was not enough, in whatever class a library puts it."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in _WORDS_OF_FULL_MEMORY)


def reason_of_fault(error: BaseException) -> str:
    """What a library says of a crystal that it cannot handle, in one line.

    Raises
    ------
    MemoryError
        If memory was not enough, which is no fault of the crystal.
    """
    if is_out_of_memory(error):
        raise MemoryError(
            "Memory was not enough for a batch of crystals. Free some, or give smaller batches: --set "
            "prediction.max_edges_per_batch=20000 --set prediction.shard_size=100."
        ) from error
    return next(iter(str(error).splitlines()), "") or type(error).__name__
