"""Crystals that a potential describes together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def batches_by_size(n_atoms: Sequence[int] | NDArray[np.integer], most_atoms: int) -> Iterator[list[int]]:
    """Positions of crystals of similar size, together at most so many atoms unless one alone has more."""
    batch: list[int] = []
    atoms = 0
    for index in np.argsort(n_atoms, kind="stable").tolist():
        if batch and atoms + n_atoms[index] > most_atoms:
            yield batch
            batch, atoms = [], 0
        batch.append(index)
        atoms += int(n_atoms[index])
    if batch:
        yield batch
