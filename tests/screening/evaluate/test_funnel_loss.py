"""The estimate of what a funnel loses."""

import numpy as np
import pandas as pd
import pytest

from screening.choose.funnel import FunnelChoice
from screening.evaluate.funnel_loss import describe_loss, funnel_loss


def choices(n_score, n_sample, n_rest):
    return np.array(
        [FunnelChoice.SCORE] * n_score + [FunnelChoice.SAMPLE] * n_sample + [FunnelChoice.BELOW] * n_rest, dtype=object
    )


def test_hits_in_the_sample_stand_for_those_among_the_rest():
    is_hit = np.zeros(1300, dtype=bool)
    is_hit[:80], is_hit[100:102] = True, True
    (row,) = funnel_loss(choices(100, 200, 1000), is_hit, "fast", "slow", 0.95).to_dict("records")
    assert row["n_lost"] == pytest.approx(10)
    assert row["n_lost_low"] < 10 < row["n_lost_high"]
    assert row["recall"] == pytest.approx(82 / 92)
    assert row["recall_low"] < row["recall"] < row["recall_high"] < 1


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        truth = rng.random(2000) < 0.03
        order = rng.permutation(2000)
        is_hit = truth[order]
        (row,) = funnel_loss(choices(0, 300, 1700), is_hit, "fast", "slow", 0.95).to_dict("records")
        held += row["n_lost_low"] <= is_hit[300:].sum() <= row["n_lost_high"]
    assert held / 300 >= 0.9


def test_without_a_sample_nothing_is_claimed():
    loss = funnel_loss(choices(5, 0, 95), np.ones(100, dtype=bool), "fast", "slow", 0.95)
    assert loss["recall"].isna().all()
    assert describe_loss(loss).endswith("What is lost is not known.")
    assert describe_loss(None) == describe_loss(loss.iloc[:0]) == ""


def test_all_read_means_nothing_lost():
    loss = funnel_loss(choices(5, 5, 0), np.ones(10, dtype=bool), "fast", "slow", 0.95)
    assert (loss["recall"] == 1).all()
    assert "some 0 (0 to 0) of its hits are missed" in describe_loss(pd.DataFrame(loss))
