"""The split of a material into training, validation and test, which shares no formula."""

from __future__ import annotations

import hashlib

SPLITS = ("train", "valid", "test")
# Held-out materials of eDOS stores, where `edos_pbe.parquet` is read too: its own test materials stay what they are.
STORE_TEST = "store_test"


def split_of_formula(formula: str, seed: int = 0) -> str:
    """Split of a formula: 80 % train, 10 % valid, 10 % test, the same on every machine.

    Examples
    --------
    >>> split_of_formula("SrVO3") == split_of_formula("SrVO3")
    True
    """
    draw = int(hashlib.sha256(f"{seed}:{formula}".encode()).hexdigest()[:8], 16) % 10
    return {0: "test", 1: "valid"}.get(draw, "train")
