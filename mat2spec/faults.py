"""Origin of an error: a crystal, which becomes a row with the reason, or the machine."""

from __future__ import annotations

import torch

# Errors raised by libraries for a crystal that they cannot handle.
CRYSTAL_FAULTS = (RuntimeError, ValueError, ArithmeticError, LookupError)
_WORDS_OF_FULL_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error reports insufficient memory, whatever its class."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in _WORDS_OF_FULL_MEMORY)


def reason_of_fault(error: BaseException) -> str:
    """A library's error message about a crystal that it cannot handle, in one line.

    Raises
    ------
    MemoryError
        If memory was insufficient, which is not the crystal's fault.
    """
    if is_out_of_memory(error):
        raise MemoryError(
            "There was not enough memory for a batch of crystals. Free some, or use smaller batches: --set "
            "prediction.max_edges_per_batch=20000 --set prediction.shard_size=100."
        ) from error
    return next(iter(str(error).splitlines()), "") or type(error).__name__
