"""Which labels are used for training, and which for validation, calibration and test sets.

Labels of the Materials Project (those of a label plan) are split by a hash of their reduced formula and of their
prototype, i.e. anonymous formula and space group. Test sets are fixed: further labels never move a material into or
out of one.

=====================  ==========================================================================================
split                  materials
=====================  ==========================================================================================
``test_prototype``     of a tenth of all prototypes, whatever their formula; none of these is ever trained on
``test_random``        the random part of a plan, of a fifth of the formulas
``test_rare_elements`` the rare-element part, of the same fifth
``test_chosen``        the likely gapped and the uncertain part, of the same fifth; not a fair sample
``valid``              a twentieth of the formulas, for early stopping
``calibration``        another twentieth, for uncertainties: not used for any choice of a model
``train``              the others
``left_out``           labels that would leak: formula of a test material, or prototype of the prototype test
``test, store_test``   test materials of the old labels, computed without spin
=====================  ==========================================================================================

Of the first 2,000 materials of the label plan 222 are in ``test_random`` (of the first 1,000: 110), 176 in
``test_prototype`` and 22 in ``test_rare_elements``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "valid", "test")
# Held-out materials of eDOS stores if `edos_pbe.parquet` is read too, whose own test materials are unchanged.
STORE_TEST = "store_test"


class Part(StrEnum):
    """Parts of a label plan: why a crystal is in it."""

    RANDOM = "random"
    GAPPED = "likely_gapped"
    UNCERTAIN = "uncertain"
    RARE = "rare_elements"


class Split(StrEnum):
    """Use of a label."""

    TRAIN = "train"
    VALID = "valid"
    CALIBRATION = "calibration"
    TEST_RANDOM = "test_random"
    TEST_PROTOTYPE = "test_prototype"
    TEST_RARE_ELEMENTS = "test_rare_elements"
    TEST_CHOSEN = "test_chosen"
    # For labels outside a plan.
    TEST = "test"
    LEFT_OUT = "left_out"


# The test sets of the label plan.
PLAN_TEST_SETS = (Split.TEST_RANDOM, Split.TEST_PROTOTYPE, Split.TEST_CHOSEN, Split.TEST_RARE_ELEMENTS)
_TEST_OF_PART = {
    Part.RANDOM: Split.TEST_RANDOM,
    Part.RARE: Split.TEST_RARE_ELEMENTS,
    Part.GAPPED: Split.TEST_CHOSEN,
    Part.UNCERTAIN: Split.TEST_CHOSEN,
}
# Of ten equal parts of all formulas. The first two are those of `split_of_formula`, so that formulas never seen by
# weights trained on older labels stay unseen.
_OLD_TEST_TENTH, _HELD_OUT_TENTH, _MORE_TEST_TENTH = 0, 1, 2
_TEST_PROTOTYPE_TENTH = 0


def split_of_formula(formula: str, seed: int = 0) -> str:
    """Split of a formula: 80 % train, 10 % valid, 10 % test, the same on every machine.

    Used for trainings without labels of a label plan.

    Examples
    --------
    >>> split_of_formula("SrVO3") == split_of_formula("SrVO3")
    True
    """
    return {_OLD_TEST_TENTH: "test", _HELD_OUT_TENTH: "valid"}.get(_draw(formula, seed) % 10, "train")


def split_of_label(formula: str, prototype: str, part: Part | None) -> Split:
    """Split of one label in a training with a label plan, the same on every machine.

    Parameters
    ----------
    formula
        Reduced formula.
    prototype
        From `mat2spec.crystals.prototypes.prototypes`.
    part
        Part of the plan; None for labels outside a plan, whose test materials are those of `split_of_formula`, and which
        are left out if they would be in another test set.

    Examples
    --------
    >>> str(split_of_label("SrVO3", "ABC3_221", Part.RANDOM))
    'train'
    """
    draw = _draw(formula)
    tenth, tenth_of_tenth = draw % 10, draw // 10 % 10
    if part is None and tenth == _OLD_TEST_TENTH:
        return Split.TEST
    if is_test_prototype(prototype):
        return Split.LEFT_OUT if part is None else Split.TEST_PROTOTYPE
    if tenth in (_OLD_TEST_TENTH, _MORE_TEST_TENTH):
        return Split.LEFT_OUT if part is None else _TEST_OF_PART[part]
    if tenth == _HELD_OUT_TENTH:
        return Split.VALID if tenth_of_tenth % 2 else Split.CALIBRATION
    return Split.TRAIN


def split_labels(
    formulas: Sequence[str], prototypes: Sequence[str], parts: Sequence[Part | None]
) -> NDArray[np.object_]:
    """Split of each of all labels that are used together, shape (n,): that of `split_of_label`, without leaks.

    A material held out as a new prototype may have polymorphs of other prototypes, which are then left out. No formula is
    in more than one of training, validation, calibration and test, prototypes of the prototype test occur elsewhere only
    in older test sets, and no test set depends on the other labels.
    """
    each = [split_of_label(*label) for label in zip(formulas, prototypes, parts, strict=True)]
    tested = {formula for formula, split in zip(formulas, each, strict=True) if is_test(split)}
    used = [
        Split.LEFT_OUT if formula in tested and not is_test(split) else split
        for formula, split in zip(formulas, each, strict=True)
    ]
    return np.array([str(split) for split in used], dtype=object)


def calibration_split(split: NDArray[np.object_]) -> Split:
    """Materials to which uncertainties are fitted: calibration materials if there are any, else validation materials."""
    return Split.CALIBRATION if (split == Split.CALIBRATION).any() else Split.VALID


def further_splits(split: NDArray[np.object_]) -> list[str]:
    """Held-out splits besides ``"valid"`` and ``"test"``, by name."""
    return sorted(name for name in set(split) - {Split.VALID, Split.TEST} if name == Split.CALIBRATION or is_test(name))


def tenth_of_formula(formula: str, seed: int = 0) -> int:
    """Which of ten equal parts of all formulas one is in, 0 to 9: those of test sets are 0 and 2, 1 is held out.

    Another seed makes other parts, which have nothing to do with the test sets.
    """
    return _draw(formula, seed) % 10


def is_test(split: str) -> bool:
    """Whether a split is a test set."""
    return split == STORE_TEST or split.startswith(Split.TEST)


def is_test_prototype(prototype: str) -> bool:
    """Whether a prototype is in the tenth that is never trained on, the same on every machine."""
    return _draw(prototype) % 10 == _TEST_PROTOTYPE_TENTH


def _draw(text: str, seed: int = 0) -> int:
    return int(hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()[:8], 16)
