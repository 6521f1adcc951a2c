"""What a funnel loses: hits of the accurate model among what only the fast one read, by a random sample."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mat2spec.tables.columns import Column
from screening.choose.funnel import FunnelChoice
from screening.evaluate.confusion import wilson_interval


def funnel_loss(
    choices: NDArray[np.object_], is_hit: NDArray[np.bool_], fast: str, accurate: str, confidence_level: float
) -> pd.DataFrame:
    """How many hits of the accurate model the funnel loses, from the random sample: a table of one row.

    Parameters
    ----------
    choices
        Of all candidates, shape (n,).
    is_hit
        Whether the accurate model calls it a hit; not used where it did not speak, shape (n,).
    fast, accurate
        Names of the models.
    confidence_level
        Of the intervals (Wilson) of the share of hits among the others.
    """
    by_score, sampled = choices == FunnelChoice.SCORE, choices == FunnelChoice.SAMPLE
    n_score, n_sampled = int(by_score.sum()), int(sampled.sum())
    found, in_sample = int(is_hit[by_score].sum()), int(is_hit[sampled].sum())
    unread = len(choices) - n_score - n_sampled
    interval = wilson_interval(in_sample, n_sampled, confidence_level)
    shares = (in_sample / n_sampled if n_sampled else None, interval.low, interval.high)
    lost, low, high = (0.0 if not unread else np.nan if share is None else unread * share for share in shares)
    known = found + in_sample
    recalls = [known / (known + value) if known + value else np.nan for value in (lost, high, low)]
    return pd.DataFrame(
        {
            Column.MODEL: [accurate],
            Column.FAST_MODEL: [fast],
            Column.N: [len(choices)],
            Column.N_BY_SCORE: [n_score],
            Column.N_BEYOND_LIMIT: [int((choices == FunnelChoice.BEYOND).sum())],
            Column.N_SAMPLED: [n_sampled],
            Column.N_FOUND: [found],
            Column.N_FOUND_IN_SAMPLE: [in_sample],
            Column.N_LOST: [lost],
            Column.N_LOST_LOW: [low],
            Column.N_LOST_HIGH: [high],
            Column.RECALL: [recalls[0]],
            Column.RECALL_LOW: [recalls[1]],
            Column.RECALL_HIGH: [recalls[2]],
        }
    )


def describe_loss(loss: pd.DataFrame | None) -> str:
    """The table of `funnel_loss` in sentences; empty for a run without a funnel."""
    if loss is None or loss.empty:
        return ""
    row = loss.iloc[0]
    beyond = f", {row[Column.N_BEYOND_LIMIT]:,} more were beyond its limit" if row[Column.N_BEYOND_LIMIT] else ""
    said = (
        f"Funnel: {row[Column.FAST_MODEL]} read all {row[Column.N]:,} candidates, {row[Column.MODEL]} the "
        f"{row[Column.N_BY_SCORE]:,} with the highest scores{beyond}, and {row[Column.N_SAMPLED]:,} drawn at random from the others."
    )
    if not row[Column.N_SAMPLED] or pd.isna(row[Column.RECALL]):
        return f"{said} What is lost is not known."
    return (
        f"{said} It found {row[Column.N_FOUND]:,} hits by score and {row[Column.N_FOUND_IN_SAMPLE]:,} in the sample, so some "
        f"{row[Column.N_LOST]:,.0f} ({row[Column.N_LOST_LOW]:,.0f} to {row[Column.N_LOST_HIGH]:,.0f}) of its hits are missed: "
        f"recall {row[Column.RECALL]:.2f} ({row[Column.RECALL_LOW]:.2f} to {row[Column.RECALL_HIGH]:.2f}); "
        "`mat2spec screen --exhaustive` misses none."
    )
