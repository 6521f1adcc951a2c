"""Which potentials describe atoms, importable without torch."""

from __future__ import annotations

from enum import StrEnum

CHGNET = "chgnet-0.3.0"
# Vectors after each of four convolutions of CHGNet.
_CHGNET_WIDTH = 4 * 64
# Numbers of an atom after each block of SevenNet, and how many blocks there are.
SCALARS, _BLOCKS = 128, 5


class SevenNetVersion(StrEnum):
    """Packaged weights of SevenNet that describe sites."""

    SEVENNET_0 = "7net-0"
    L3I5 = "7net-l3i5"

    @property
    def width(self) -> int:
        """Numbers per site."""
        return SCALARS * _BLOCKS


class Descriptors(StrEnum):
    """Origin of the node vectors: potentials, whose vectors stand side by side."""

    NONE = "none"
    CHGNET = CHGNET
    THREE_POTENTIALS = f"{CHGNET}+{SevenNetVersion.SEVENNET_0}+{SevenNetVersion.L3I5}"

    @property
    def potentials(self) -> tuple[str, ...]:
        """Their names, in the order of the vectors."""
        return () if self is Descriptors.NONE else tuple(self.split("+"))

    @property
    def width(self) -> int:
        """Numbers per atom."""
        return sum(_CHGNET_WIDTH if name == CHGNET else SevenNetVersion(name).width for name in self.potentials)
