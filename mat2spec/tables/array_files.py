"""Arrays in files of NumPy: not larger than what the file holds, and of real numbers where these belong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray


def check_header(content: IO[bytes], name: str, n_bytes: int, *, numbers: bool = False) -> None:
    """Refuse an array by what its header says, before memory is asked for.

    Parameters
    ----------
    content
        The file, from its start.
    name
        What messages call it.
    n_bytes
        Size of the file.
    numbers
        Whether real numbers are needed: of complex ones NumPy would drop a part, dates it would count.

    Raises
    ------
    ValueError
        If the header is damaged, or declares anything else or more.
    """
    version = np.lib.format.read_magic(content)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(content)
    if math.prod(shape) * kind.itemsize > n_bytes:
        raise ValueError(f"{name} declares more values than it holds")
    if numbers and kind.kind not in "fiu":
        raise ValueError(f"{name} holds {kind.name} where real numbers belong")


def real_numbers(path: Path) -> NDArray[np.float64]:
    """Numbers of an npy file.

    Raises
    ------
    ValueError, EOFError
        If it is damaged or holds anything else.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as content:
        check_header(content, path.name, path.stat().st_size, numbers=True)
    values: NDArray[Any] = np.load(path, allow_pickle=False)
    return values.astype(np.float64)
