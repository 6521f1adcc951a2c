"""Choice of the materials that DFT checks: confident positives, and random samples of all others.

Confident positives alone would show how good the best picks are, but not how good all predicted positives are or what
is missed. Uniform random samples of the other positives and of the negatives are therefore computed as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mat2spec.crystals.primitive import CellSizes
from mat2spec.tables.columns import Column
from screening.settings import SelectionSettings

RANDOM_NEGATIVE = "random_negative"
RANDOM_POSITIVE = "random_positive"
# Groups of which a sample stands for all members.
SAMPLED_GROUPS = (RANDOM_POSITIVE, RANDOM_NEGATIVE)
POSITIVE_PREFIX = "positive:"


@dataclass(frozen=True)
class Selection:
    """The materials for DFT and the pool they were drawn from.

    Parameters
    ----------
    picks
        One row per material in the order of computing: `material_id`, `selected_as`, `rank` (from 1 within each
        group), `inclusion_probability` (1 for a positive picked by its rank; for a random positive or negative the
        share of its group that was drawn).
    n_too_large
        Materials left out before drawing because their cells exceed `max_sites`.
    n_positives
        Predicted gapped metals of any model in the pool.
    n_negatives
        Materials in the pool that every model calls negative.
    n_unpredicted
        Materials left out because no model has a prediction for them.
    """

    picks: pd.DataFrame
    n_too_large: int
    n_positives: int
    n_negatives: int
    n_unpredicted: int

    def counts(self) -> dict[str, int]:
        """Counts for the record of the run: how many were chosen, out of how many."""
        return {
            "selected": len(self.picks),
            "positives": self.n_positives,
            "negatives": self.n_negatives,
            "too_large": self.n_too_large,
            "unpredicted": self.n_unpredicted,
        }


def select_for_dft(
    classifications: pd.DataFrame,
    candidates: pd.DataFrame,
    settings: SelectionSettings | None = None,
    rank_by: str = Column.GAPPED_METAL_CONFIDENCE,
) -> Selection:
    """Choose materials for DFT.

    Hits are the rows with `is_target`: gapped metals unless a condition is set. The models take turns in alphabetical
    order, each naming its most confident hit not chosen yet. The random positives are a uniform sample without
    replacement of the remaining hits of any model; the random negatives, of the materials that no model calls a hit.

    Parameters
    ----------
    classifications
        One row per material and model: `material_id`, `model`, `is_gapped_metal`, `is_target` (where there is one),
        `gapped_metal_confidence`, `gap_width_ev`.
    candidates
        The candidates: `material_id`, `nsites`, and `nsites_primitive` where known.
    settings
        How many to choose; the defaults if not given.
    rank_by
        Column that ranks the hits, the largest first.

    Raises
    ------
    ValueError
        If `rank_by` is not a column.

    Returns
    -------
    Selection
        Independent of the order of the input rows.
    """
    settings = settings or SelectionSettings()
    flag = target_of(classifications)
    if rank_by not in classifications:
        raise ValueError(f"Hits cannot be ranked by '{rank_by}': that is not a column of the classifications.")
    rows = classifications[classifications[Column.MATERIAL_ID].isin(candidates[Column.MATERIAL_ID])]
    predicted = rows[rows[flag].notna()]
    n_unpredicted = rows[Column.MATERIAL_ID].nunique() - predicted[Column.MATERIAL_ID].nunique()
    small_enough = predicted[Column.MATERIAL_ID].isin(drawable(candidates, settings))
    pool = predicted[small_enough]
    positive = pool[pool[flag].astype(bool)]
    positive_ids = set(positive[Column.MATERIAL_ID])
    negative_ids = sorted(set(pool[Column.MATERIAL_ID]) - positive_ids)
    ranked = _take_turns(positive, settings.max_positives, flag, rank_by)
    other_ids = sorted(positive_ids - {material_id for material_id, *_ in ranked})
    drawn = _draw(other_ids, settings.n_random_positives, RANDOM_POSITIVE, settings.seed + 1)
    drawn += _draw(negative_ids, settings.n_random_negatives, RANDOM_NEGATIVE, settings.seed)
    return Selection(
        picks=_picks_table(ranked + drawn),
        n_too_large=int(predicted[Column.MATERIAL_ID][~small_enough].nunique()),
        n_positives=len(positive_ids),
        n_negatives=len(negative_ids),
        n_unpredicted=int(n_unpredicted),
    )


def drawable(candidates: pd.DataFrame, settings: SelectionSettings) -> list[str]:
    """Candidates whose primitive cells are small enough for DFT."""
    limit = np.inf if settings.max_sites is None else settings.max_sites
    small = CellSizes.of_rows(candidates).n_primitive <= limit
    return candidates.loc[small, Column.MATERIAL_ID].tolist()


def target_of(classifications: pd.DataFrame) -> str:
    """The column that says what is searched for; gapped metals in tables of older runs."""
    has_target = Column.IS_TARGET in classifications and classifications[Column.IS_TARGET].notna().any()
    return Column.IS_TARGET if has_target else Column.IS_GAPPED_METAL


def rank_gapped_metals(
    classifications: pd.DataFrame, flag: str = Column.IS_GAPPED_METAL, rank_by: str = Column.GAPPED_METAL_CONFIDENCE
) -> pd.DataFrame:
    """Predicted gapped metals, or other hits, the most confident first; ties go to the wider gap, then by identifier."""
    positive = classifications[classifications[flag].fillna(value=False).astype(bool)]
    return positive.sort_values(
        [rank_by, Column.GAP_WIDTH_EV, Column.MATERIAL_ID],
        ascending=[False, False, True],
        kind="stable",
        ignore_index=True,
    )


def rank_by_consensus(classifications: pd.DataFrame) -> pd.DataFrame:
    """Materials that any model calls a hit, by decreasing mean confidence of all models.

    Parameters
    ----------
    classifications
        One row per material and model, as for `select_for_dft`.

    Returns
    -------
    pandas.DataFrame
        One row per material: that of its most confident model, with `gapped_metal_confidence`
        replaced by the mean over all models, including those that call it negative: a single model far
        from its training data can be certain and wrong.
    """
    consensus = classifications.groupby(Column.MATERIAL_ID)[Column.GAPPED_METAL_CONFIDENCE].mean()
    best = rank_gapped_metals(classifications, target_of(classifications)).drop_duplicates(Column.MATERIAL_ID)
    best = best.assign(**{Column.GAPPED_METAL_CONFIDENCE: best[Column.MATERIAL_ID].map(consensus)})
    return best.sort_values(
        [Column.GAPPED_METAL_CONFIDENCE, Column.GAP_WIDTH_EV, Column.MATERIAL_ID],
        ascending=[False, False, True],
        kind="stable",
        ignore_index=True,
    )


def _take_turns(positive: pd.DataFrame, most: int, flag: str, rank_by: str) -> list[tuple[str, str, int, float]]:
    """Let each model in turn name its best material that is not chosen yet."""
    ranked = rank_gapped_metals(positive, flag, rank_by)
    queues = {str(model): list(group[Column.MATERIAL_ID]) for model, group in ranked.groupby(Column.MODEL, sort=True)}
    chosen: dict[str, str] = {}
    while len(chosen) < most and any(queues.values()):
        for model, queue in queues.items():
            while queue and queue[0] in chosen:
                queue.pop(0)
            if queue and len(chosen) < most:
                chosen[queue.pop(0)] = model
    return [
        (material_id, POSITIVE_PREFIX + model, rank, 1.0) for rank, (material_id, model) in enumerate(chosen.items(), 1)
    ]


def _draw(ids: list[str], most: int, kind: str, seed: int) -> list[tuple[str, str, int, float]]:
    """Draw materials of one group uniformly, without replacement."""
    size = min(most, len(ids))
    if size == 0:
        return []
    drawn = np.random.default_rng(seed).choice(len(ids), size=size, replace=False)
    share = size / len(ids)
    return [(ids[index], kind, rank, share) for rank, index in enumerate(drawn, 1)]


def _picks_table(picks: list[tuple[str, str, int, float]]) -> pd.DataFrame:
    columns = [Column.MATERIAL_ID, Column.SELECTED_AS, Column.RANK, Column.INCLUSION_PROBABILITY]
    return pd.DataFrame(picks, columns=[str(column) for column in columns]).astype(
        {Column.RANK: "int64", Column.INCLUSION_PROBABILITY: "float64"}
    )
