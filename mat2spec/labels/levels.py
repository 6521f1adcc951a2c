"""Levels of theory of labels, and which labels belong to each.

"As the Materials Project computes it" is PBE with its Hubbard U, spin-polarised where a crystal can be magnetic. An
unpolarised calculation without U is at that level too where the crystal can have neither moments nor U.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mat2spec.crystals.hubbard import site_u_ev
from mat2spec.crystals.magnetism import can_be_magnetic
from mat2spec.settings import Level


def rows_at_level(store: pa.Table, level: Level) -> NDArray[np.bool_]:
    """Which labels of a store are at a level of theory, shape (n,).

    Parameters
    ----------
    store
        A table of `mat2spec.labels.edos_store.STORE_SCHEMA` whose crystals are there.
    level
        The level wanted.
    """
    columns = ("functional", "spin", "u_values", "level")
    functional, spin, u_values, named = (np.array(store[name].to_pylist(), dtype=object) for name in columns)
    plain = (functional == "PBE") & (spin == "unpolarised") & (u_values == "{}")
    if level is Level.UNPOLARISED:
        return plain
    numbers = (np.asarray(values) for values in store["atomic_numbers"].to_pylist())
    neither = np.array(
        [not can_be_magnetic(values) and not site_u_ev(values).any() for values in numbers], dtype=np.bool_
    )
    return (named == Level.MP) | (plain & neither)
