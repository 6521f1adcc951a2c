"""The test sets of a benchmark: order, headings and contents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mat2spec.labels.splits import Split

# Labels outside the label plan, at a different level of theory.
TEST_UNPOLARISED = "test_unpolarised"


@dataclass(frozen=True)
class TestSet:
    """Heading and description of a test set.

    Parameters
    ----------
    title, description
        As Markdown.
    beside_published
        Whether published figures stand beside it: they are of a random sample of materials.
    """

    __test__ = False  # it only looks like a test to pytest

    title: str
    description: str
    beside_published: bool = False


TEST_SETS: dict[str, TestSet] = {
    Split.TEST_RANDOM: TestSet(
        "Random materials",
        "Random materials of the Materials Project as encountered in a screen, of formulas that are never trained on.",
        beside_published=True,
    ),
    Split.TEST_PROTOTYPE: TestSet(
        "New prototypes", "Materials whose prototype (anonymous formula and space group) is never trained on."
    ),
    Split.TEST_RARE_ELEMENTS: TestSet(
        "Rare elements", "Materials chosen for elements with few labels, of formulas that are never trained on."
    ),
    Split.TEST_CHOSEN: TestSet(
        "Chosen materials",
        "Likely gapped metals and materials about which models were uncertain, of formulas that are never trained on: many "
        "gapped metals, but not a fair sample.",
    ),
    TEST_UNPOLARISED: TestSet(
        "Hypothetical and unpolarised",
        "Labels from before the label plan, computed without spin: hypothetical symmetric crystals of the embedded "
        "catalogue, chosen for an odd number of electrons, and some small crystals of the Materials Project.",
        beside_published=True,
    ),
    Split.TEST: TestSet("Test materials", "Test materials of the source that was given.", beside_published=True),
}


def in_order(splits: Iterable[str]) -> list[str]:
    """The test sets among splits, in their order."""
    given = set(splits)
    return [name for name in TEST_SETS if name in given]
