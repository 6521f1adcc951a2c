import hashlib
from collections import Counter, defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mat2spec.labels.splits import (
    Part,
    Split,
    calibration_split,
    further_splits,
    is_test,
    is_test_prototype,
    split_labels,
    split_of_formula,
    split_of_label,
)

FORMULAS = [f"A{i}B{j}" for i in range(1, 8) for j in range(1, 8)]
PROTOTYPES = [f"AB{n}_{group}" for n in range(1, 5) for group in range(195, 215)]
# Few formulas and prototypes, so that polymorphs and shared prototypes are the rule.
LABELS = st.lists(
    st.tuples(st.sampled_from(FORMULAS), st.sampled_from(PROTOTYPES), st.sampled_from([*Part, None])), max_size=80
)
USED = (Split.TRAIN, Split.VALID, Split.CALIBRATION)


def split(labels):
    return split_labels(*zip(*labels, strict=True)).tolist() if labels else []


@given(LABELS)
def test_no_formula_is_used_twice(labels):
    uses = defaultdict(set)
    for (formula, *_), use in zip(labels, split(labels), strict=True):
        if use != Split.LEFT_OUT:
            uses[formula].add("test" if is_test(use) else use)
    assert all(len(of_formula) == 1 for of_formula in uses.values())


@given(LABELS)
def test_no_prototype_of_the_prototype_test_is_trained_on(labels):
    splits = split(labels)
    tested = {label[1] for label, use in zip(labels, splits, strict=True) if use == Split.TEST_PROTOTYPE}
    assert not tested & {label[1] for label, use in zip(labels, splits, strict=True) if use in USED}
    assert all(is_test_prototype(prototype) for prototype in tested)


@given(LABELS, LABELS)
def test_further_labels_move_nothing_into_or_out_of_a_test_set_or_into_training(labels, more):
    before, after = split(labels), split([*labels, *more])[: len(labels)]
    for first, second in zip(before, after, strict=True):
        assert first == second or (first in USED and second == Split.LEFT_OUT)


@given(LABELS, st.randoms())
def test_the_order_of_labels_does_not_matter(labels, random):
    order = random.sample(range(len(labels)), len(labels))
    splits = split(labels)
    assert split([labels[i] for i in order]) == [splits[i] for i in order]


@given(st.sampled_from(FORMULAS), st.sampled_from(PROTOTYPES), st.sampled_from([*Part, None]))
def test_test_materials_of_older_labels_are_never_trained_on(formula, prototype, part):
    use = split_of_label(formula, prototype, part)
    if split_of_formula(formula) == "test":
        assert use not in USED
        assert part is not None or use == Split.TEST
    if split_of_formula(formula) == "valid":
        assert use != Split.TRAIN


def test_a_split_is_what_the_hash_says_on_any_machine():
    digest = int(hashlib.sha256(b"0:SrVO3").hexdigest()[:8], 16)
    assert digest % 10 not in (0, 1, 2)
    assert split_of_label("SrVO3", "ABC3_221", Part.RANDOM) == Split.TRAIN
    known = {
        ("NaCl", "AB_225", Part.RANDOM): "train",
        ("NaF", "AB_225", Part.RARE): "test_rare_elements",
        ("NaCl", "ABC_62", Part.RANDOM): "test_prototype",
        ("NaCl", "ABC_62", None): "left_out",
    }
    assert {label: str(split_of_label(*label)) for label in known} == known


def test_each_part_has_its_test_set():
    formula = next(name for name in FORMULAS if split_of_formula(name) == "test")
    prototype = next(name for name in PROTOTYPES if not is_test_prototype(name))
    tests = {part: split_of_label(formula, prototype, part) for part in [*Part, None]}
    assert tests == {
        Part.RANDOM: "test_random",
        Part.RARE: "test_rare_elements",
        Part.GAPPED: "test_chosen",
        Part.UNCERTAIN: "test_chosen",
        None: "test",
    }


def test_uncertainties_are_fitted_to_calibration_materials_if_there_are_any():
    assert calibration_split(np.array(["train", "valid", "test"], dtype=object)) == "valid"
    assert calibration_split(np.array(["train", "valid", "calibration"], dtype=object)) == "calibration"


def test_further_splits_are_held_out_ones():
    split = np.array(["train", "valid", "test", "store_test", "test_random", "calibration", "left_out"], dtype=object)
    assert further_splits(split) == ["calibration", "store_test", "test_random"]
    assert further_splits(np.array(["train", "valid"], dtype=object)) == []


def test_shares_are_those_that_are_stated():
    labels = [(f"X{i}Y", f"AB{i}_1", Part.RANDOM) for i in range(20_000)]
    shares = {use: count / len(labels) for use, count in Counter(split(labels)).items()}
    expected = {"test_prototype": 0.1, "test_random": 0.18, "valid": 0.045, "calibration": 0.045, "train": 0.63}
    assert shares.keys() == expected.keys()
    assert all(abs(shares[use] - share) < 0.01 for use, share in expected.items())
